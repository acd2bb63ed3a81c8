"""TensorFlow functions and tflite files through tf2onnx, made repeatable and strict; knows no recipe's source kinds.

tf2onnx walks sets of nodes, which Python orders by memory address, numbers names from a process-wide counter and
sorts by them: two runs of one model differ in names, in order and in which of two equal constants stays. While it
runs, its sets keep insertion order and its counters start afresh, so that one model gives one file.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice, permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.user_code import user_frames
from onnxbuild.recipe.types import Input
from onnxbuild.sources import tensorflow_runtime
from onnxbuild.sources.graph_def import name_functions
from onnxbuild.sources.graph_io import unknown_operators, write_with_names
from onnxbuild.sources.ordered_set import OrderedSet
from onnxbuild.sources.source import ExportedModel, SourceRequest
from onnxbuild.sources.tf2onnx_operators import operator_conversions

if TYPE_CHECKING:
    import onnx

HIGHEST_OPSET = 18
"""Where tf2onnx ends; the export stage converts up from there."""
EINSUM_ORDERS = 24
"""How many orders of an einsum's letters are tried; on attention, 120 gave no smaller graph and took twice as long."""


def export_function(
    function: Callable[..., Sequence[Any]],
    owner: object,
    request: SourceRequest,
    opset: int | None,
    folder: Path,
    modules: Sequence[str] = (),
) -> ExportedModel:
    """Trace `function` (tensors in, a flat sequence of tensors out, both in the recipe's order) and convert it.

    `owner` holds the variables and tables that the function uses, `modules` are its layers' names. Raises
    StageFailure, with the user's traceback when tracing raises.
    """
    import tensorflow as tf

    signature = [
        tf.TensorSpec([d if isinstance(d, int) else None for d in item.shape], item.dtype, name=f"input_{i}")
        for i, item in enumerate(request.inputs)
    ]
    with tensorflow_runtime.quiet():
        with user_frames("tracing the model"):
            traced = tf.function(function, input_signature=signature, autograph=False).get_concrete_function()
        # What a function closes over is appended to its inputs.
        feeds = [t.name for t in traced.inputs[: len(traced.inputs) - len(traced.captured_inputs)]]
        fetches = [t.name for t in traced.outputs]
        proto = _convert(opset, lambda: _freeze(owner, traced, feeds, fetches), inputs=feeds, outputs=fetches)
    path = _write(proto, dict(zip(feeds, request.inputs, strict=True)), fetches, request, folder)
    return ExportedModel(path=path, modules=tuple(modules))


def export_tflite(
    path: Path,
    inputs: Mapping[str, Input],
    outputs: Sequence[str],
    request: SourceRequest,
    opset: int | None,
    folder: Path,
) -> ExportedModel:
    """Convert a tflite file; `inputs` maps its tensors to the recipe's inputs, `outputs` are its tensors to deliver."""
    with tensorflow_runtime.quiet():
        proto = _convert(opset, None, tflite_path=str(path))
    return ExportedModel(path=_write(proto, inputs, outputs, request, folder))


def _write(
    proto: onnx.ModelProto, inputs: Mapping[str, Input], outputs: Sequence[str], request: SourceRequest, folder: Path
) -> Path:
    """Write the converted model with the recipe's names and dims; refuse one with operators that ONNX lacks."""
    if unknown := unknown_operators(proto):
        raise StageFailure(
            "unsupported-operator",
            f"tf2onnx has no conversion for {', '.join(sorted(unknown))}",
            tool="tf2onnx",
            node=min(unknown.values()),
            hint="express these operations with others, or convert the part of the model without them",
        )
    names = [item.name for item in request.outputs]
    path = folder / "model.onnx"
    write_with_names(proto, inputs, dict(zip(outputs, names, strict=True)), path)
    return path


def _freeze(owner: object, traced: Any, feeds: list[str], fetches: list[str]) -> tuple[Any, Any]:
    """Return the GraphDef with constants for variables, and the content of its lookup tables."""
    from tf2onnx import tf_loader

    graph_def, tables = tf_loader.from_trackable(owner, traced, feeds, fetches, False)
    name_functions(graph_def)
    return graph_def, tables


def _convert(
    opset: int | None,
    freeze: Callable[[], tuple[Any, Any]] | None,
    inputs: list[str] | None = None,
    outputs: list[str] | None = None,
    tflite_path: str | None = None,
) -> onnx.ModelProto:
    """Run tf2onnx's conversion and its optimizers; `freeze` None reads `tflite_path`. Raises StageFailure."""
    import tensorflow as tf
    from tf2onnx import optimizer, tfonnx

    with _repeatable(), _recorded_errors() as errors, tf.device("/cpu:0"):
        try:
            graph_def, tables = (None, None) if freeze is None else freeze()
            with tf.Graph().as_default() as graph:
                if graph_def is not None:
                    tf.import_graph_def(graph_def, name="")
                converted = tfonnx.process_tf_graph(
                    graph,
                    continue_on_error=True,  # a rewriter that fails leaves the graph to plainer ones
                    opset=min(opset or HIGHEST_OPSET, HIGHEST_OPSET),
                    custom_op_handlers=operator_conversions(),
                    input_names=inputs,
                    output_names=outputs,
                    initialized_tables=tables,
                    tensors_to_rename=None if graph_def is None else {},
                    tflite_path=tflite_path,
                )
                _refuse_failed_nodes(errors)
                proto = optimizer.optimize_graph(converted).make_model("", graph_name="model")
        except StageFailure:
            raise
        except Exception as error:  # tf2onnx raises what it meets
            raise _failure(error) from None
    return proto  # type: ignore[no-any-return]


def _failure(error: Exception) -> StageFailure:
    text = str(error).strip() or type(error).__name__
    if "2GB" in text or "string too long" in text:
        return StageFailure(
            "model-too-large",
            "tf2onnx cannot convert a model with 2 GB of weights or more",
            tool="tf2onnx",
            hint="split the model, or export it to ONNX from another framework and build from the .onnx file",
        )
    return StageFailure("conversion-failed", f"tf2onnx fails: {text}", tool="tf2onnx")


def _refuse_failed_nodes(errors: Sequence[logging.LogRecord]) -> None:
    """Raise for the first node whose conversion raised: tf2onnx only logs it and leaves TensorFlow's node in place."""
    for record in errors:
        if str(record.msg).startswith("Failed to convert node") and isinstance(record.args, tuple):
            reason = record.exc_info[1] if record.exc_info else "no reason given"
            node = str(record.args[0])
            raise StageFailure(
                "conversion-failed", f"tf2onnx cannot convert node {node}: {reason}", tool="tf2onnx", node=node
            )


class _Recorder(logging.Handler):
    """Keeps log records instead of printing them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record."""
        self.records.append(record)


@contextmanager
def _recorded_errors() -> Iterator[list[logging.LogRecord]]:
    """Keep what tf2onnx logs as errors, print none of its log."""
    logger = logging.getLogger("tf2onnx")
    recorder = _Recorder()
    propagate, handlers = logger.propagate, logger.handlers
    logger.propagate, logger.handlers = False, [recorder]
    try:
        yield recorder.records
    finally:
        logger.propagate, logger.handlers = propagate, handlers


class _Numbers:
    """Stands in for `id`: numbers objects in the order in which they are asked for, and keeps them alive."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, object]] = {}

    def __call__(self, item: object) -> int:
        return self._known.setdefault(id(item), (len(self._known) + 1, item))[0]


def _some_permutations(letters: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Bound tf2onnx's search for an einsum's cheapest form: it tries all orders of the letters, and 7 take minutes."""
    return islice(permutations(letters), EINSUM_ORDERS)


@contextmanager
def _repeatable() -> Iterator[None]:
    """Let tf2onnx see sets that keep insertion order, a name counter at its start, and no memory addresses.

    It sorts nodes by name, and its einsum optimiser makes names of addresses.
    """
    from tf2onnx import utils
    from tf2onnx.optimizer import einsum_optimizer

    modules = [m for name, m in sys.modules.items() if name.split(".")[0] == "tf2onnx" and "set" not in vars(m)]
    for module in modules:
        vars(module)["set"] = OrderedSet
    vars(einsum_optimizer).update(id=_Numbers(), permutations=_some_permutations)
    einsum_optimizer.CachedEinsum.einsum_cache.clear()
    utils.INTERNAL_NAME = 0
    try:
        yield
    finally:
        for module in modules:
            del vars(module)["set"]
        del vars(einsum_optimizer)["id"]
        vars(einsum_optimizer)["permutations"] = permutations
