"""Opening a session the way a recipe says, and running calls through it; knows nothing of references or tolerances."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime as ort

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import Session

Call = Mapping[str, np.ndarray]
"""One call's arrays by input or output name; strings are numpy arrays of dtype object."""

LEVELS = {
    "disable": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_NUMPY = {"float", "double", "bool", "string", "float16", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))}
UNOPTIMIZED = Session(graph_optimization="disable")
PREPACKING_LIMIT = 1_000_000_000


def session_options(session: Session) -> ort.SessionOptions:
    """Return ONNX Runtime's options for a recipe's session: log level error, threads idle rather than spinning.

    One thread unless the recipe says how many: results and `-j` must not depend on the machine's cores.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if session.graph_optimization is not None:
        options.graph_optimization_level = LEVELS[session.graph_optimization]
    options.intra_op_num_threads = 1 if session.intra_op_threads is None else session.intra_op_threads
    if session.memory_pattern is not None:
        options.enable_mem_pattern = session.memory_pattern
    if session.cpu_arena is not None:
        options.enable_cpu_mem_arena = session.cpu_arena
    return options


@contextmanager
def one_thread() -> Iterator[None]:
    """Let sessions that a tool of ONNX Runtime's opens by itself compute on one thread too; not for many at once."""
    made = ort.SessionOptions

    def make() -> ort.SessionOptions:
        options = made()
        options.intra_op_num_threads = 1
        return options

    ort.SessionOptions = make
    try:
        yield
    finally:
        ort.SessionOptions = made


def options_for(model: Path, session: Session) -> ort.SessionOptions:
    """Return the session's options for a model file: weights of a large one are not laid out anew in memory."""
    options = session_options(session)
    if sum(p.stat().st_size for p in model.parent.glob("model.onnx*")) > PREPACKING_LIMIT:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def open_session(model: Path, session: Session = Session()) -> ort.InferenceSession:
    """Open the model file on the CPU provider; raises StageFailure (`model-does-not-load`) with its reason."""
    options = options_for(model, session)
    try:
        return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types
        reason = str(error).replace(f"{model.parent}/", "")
        raise StageFailure(
            "model-does-not-load", f"ONNX Runtime refuses the model: {reason}", tool="onnxruntime"
        ) from None


def beyond_numpy(session: ort.InferenceSession) -> dict[str, str]:
    """Return the outputs whose elements numpy does not have, so that no session hands them over, with their dtype."""
    kinds = {value.name: value.type.rpartition("(")[2].rstrip(")") for value in session.get_outputs()}
    return {name: kind for name, kind in kinds.items() if kind not in _NUMPY}


def draw_anew() -> None:
    """Have the sessions opened from now on draw other random numbers, where their models leave the seed open."""
    ort.set_seed(20_261_125)


def feed_of(session: ort.InferenceSession, call: Call) -> dict[str, np.ndarray]:
    """Return what of a call a session takes; float32 is rounded where float16 goes in (`keep_io: false`)."""
    wanted = {value.name: value.type for value in session.get_inputs()}
    return {name: _rounded(array, wanted[name]) for name, array in call.items() if name in wanted}


def _rounded(array: np.ndarray, wanted: str) -> np.ndarray:
    return array.astype(np.float16) if wanted == "tensor(float16)" and array.dtype == np.float32 else array


def run_call(session: ort.InferenceSession, call: Call, without: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Run one call and return the outputs by name, but those in `without`.

    Raises StageFailure (`model-does-not-run`).
    """
    names = [value.name for value in session.get_outputs() if value.name not in without]
    try:
        values = session.run(names, feed_of(session, call))
    except Exception as error:  # as above
        raise StageFailure("model-does-not-run", f"ONNX Runtime fails: {error}", tool="onnxruntime") from None
    return dict(zip(names, values, strict=True))
