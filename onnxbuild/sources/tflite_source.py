"""A tflite file: converted by tf2onnx, run by its interpreter; knows nothing of the model it was made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import Framework, Output
from onnxbuild.sources.description import DescribedInput, SourceFacts, open_dims
from onnxbuild.sources.needs import NEEDS
from onnxbuild.sources.signature import SourceValue, match_inputs, match_outputs
from onnxbuild.sources.source import ExportedModel, SourceRequest

if TYPE_CHECKING:
    from onnxbuild.ort.session import Call


@dataclass(frozen=True)
class _Opened:
    """An interpreter, and the details of its inputs and outputs in the recipe's order."""

    interpreter: Any
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class TfliteSource:
    """tflite files through tf2onnx; the reference is the LiteRT interpreter on one thread."""

    packages: tuple[str, ...] = NEEDS[Framework.TFLITE].packages
    preload: tuple[str, ...] = NEEDS[Framework.TFLITE].preload
    extra: str = NEEDS[Framework.TFLITE].extra

    def export(self, request: SourceRequest, opset: int | None, folder: Path) -> ExportedModel:
        """Convert the file at opset 18 or below; quantised operators become QuantizeLinear and DequantizeLinear."""
        from onnxbuild.sources import tensorflow_runtime
        from onnxbuild.sources.tf2onnx_export import export_tflite

        opened = _open(request)
        tensorflow_runtime.start()
        inputs = {detail["name"]: item for detail, item in zip(opened.inputs, request.inputs, strict=True)}
        outputs = [detail["name"] for detail in opened.outputs]
        return export_tflite(request.files["path"], inputs, outputs, request, opset, folder)

    def describe(self, request: SourceRequest) -> SourceFacts:
        """Describe the interpreter's inputs and outputs, by the names of the one signature where there is one."""
        interpreter = _interpreter(request.files["path"])
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        signatures = interpreter.get_signature_list()
        only = next(iter(signatures.values())) if len(signatures) == 1 else {"inputs": [], "outputs": []}
        names = _names(interpreter, inputs, "inputs", list(only["inputs"]))
        return SourceFacts(
            framework=Framework.TFLITE,
            inputs=tuple(
                DescribedInput(name=name, dtype=_dtype(detail), shape=open_dims(detail["shape_signature"]))
                for name, detail in zip(names, inputs, strict=True)
            ),
            outputs=tuple(Output(name=name) for name in _names(interpreter, outputs, "outputs", list(only["outputs"]))),
        )

    def reference(self, request: SourceRequest, calls: Iterable[Call]) -> Iterator[dict[str, np.ndarray]]:
        """Run the interpreter on each call, resized to the call's shapes where they change."""
        opened = _open(request)
        names = [item.name for item in request.inputs]
        outputs = [item.name for item in request.outputs]
        shapes: list[tuple[int, ...]] = []
        for number, call in enumerate(calls):
            arrays = [call[name] for name in names]
            try:
                if shapes != [array.shape for array in arrays]:
                    shapes = [array.shape for array in arrays]
                    _resize(opened, shapes)
                for detail, array in zip(opened.inputs, arrays, strict=True):
                    opened.interpreter.set_tensor(detail["index"], array)
                opened.interpreter.invoke()
                values = [opened.interpreter.get_tensor(detail["index"]) for detail in opened.outputs]
            except (ValueError, RuntimeError) as error:
                raise StageFailure(
                    "model-does-not-run", f"the interpreter fails on call {number}: {error}", tool="ai-edge-litert"
                ) from None
            yield dict(zip(outputs, values, strict=True))


KIND = TfliteSource()


def _open(request: SourceRequest) -> _Opened:
    """Open the file and match its inputs and outputs: by tensor or signature name where all match, else by order."""
    interpreter = _interpreter(request.files["path"])
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if any(_dtype(detail) == "string" for detail in (*inputs, *outputs)):
        raise StageFailure("unsupported-dtype", "tflite models with string inputs or outputs cannot be converted")
    wanted = [item.name for item in request.outputs]
    input_names = _names(interpreter, inputs, "inputs", [item.name for item in request.inputs])
    output_names = _names(interpreter, outputs, "outputs", wanted)
    values = [
        SourceValue(name, _dtype(detail), tuple(None if d < 0 else int(d) for d in detail["shape_signature"]))
        for name, detail in zip(input_names, inputs, strict=True)
    ]
    matched = match_inputs(request.inputs, values)
    return _Opened(
        interpreter,
        tuple(inputs[values.index(value)] for value in matched),
        tuple(outputs[i] for i in match_outputs(wanted, output_names)),
    )


def _interpreter(path: Path) -> Any:
    """Open the file and prepare its operators, at the sizes it was saved with."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        selected = "Select TensorFlow op" in str(error)
        raise StageFailure(
            "source-does-not-load",
            f"{path.name} holds TensorFlow's own operators, which no tflite interpreter for Python runs"
            if selected
            else f"the tflite interpreter cannot load {path.name}: {error}",
            tool="ai-edge-litert",
            hint="convert the model again without tf.lite.OpsSet.SELECT_TF_OPS, or build from its SavedModel"
            if selected
            else None,
        ) from None
    return interpreter


def _names(interpreter: Any, details: list[dict[str, Any]], side: str, wanted: list[str]) -> list[str]:
    """Return the names that the recipe means: of the one signature where it uses those, else of the tensors."""
    signatures = interpreter.get_signature_list()
    if len(signatures) == 1:
        key, signature = next(iter(signatures.items()))
        if set(wanted) <= set(signature[side]) and len(signature[side]) == len(details):
            runner = interpreter.get_signature_runner(key)
            own = runner.get_input_details() if side == "inputs" else runner.get_output_details()
            by_index = {detail["index"]: name for name, detail in own.items()}
            if all(detail["index"] in by_index for detail in details):
                return [by_index[detail["index"]] for detail in details]
    return [str(detail["name"]) for detail in details]


def _dtype(detail: dict[str, Any]) -> str:
    return "string" if detail["dtype"] in (np.bytes_, np.str_, np.object_) else np.dtype(detail["dtype"]).name


def _resize(opened: _Opened, shapes: list[tuple[int, ...]]) -> None:
    for detail, shape in zip(opened.inputs, shapes, strict=True):
        if shape:
            opened.interpreter.resize_tensor_input(detail["index"], shape, strict=True)
    opened.interpreter.allocate_tensors()
