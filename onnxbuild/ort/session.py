"""Opening a session the way a recipe says, and running calls through it; knows nothing of references or tolerances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
        raise StageFailure(
            "model-does-not-load", f"ONNX Runtime refuses the model: {error}", tool="onnxruntime"
        ) from None


def draw_anew() -> None:
    """Have the sessions opened from now on draw other random numbers, where their models leave the seed open."""
    ort.set_seed(20_261_125)


def run_call(session: ort.InferenceSession, call: Call) -> dict[str, np.ndarray]:
    """Run one call and return the outputs by name; raises StageFailure (`model-does-not-run`)."""
    names = [value.name for value in session.get_outputs()]
    wanted = {value.name for value in session.get_inputs()}
    try:
        values = session.run(names, {name: array for name, array in call.items() if name in wanted})
    except Exception as error:  # as above
        raise StageFailure("model-does-not-run", f"ONNX Runtime fails: {error}", tool="onnxruntime") from None
    return dict(zip(names, values, strict=True))
