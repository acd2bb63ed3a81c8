"""Types and shapes of a graph's tensors as ONNX Runtime infers them, of its own operators too; runs nothing."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime as ort

from onnxbuild.base.foreign import foreign_tool
from onnxbuild.ort.exposed import all_outputs

TypedShape = tuple[onnx.TensorProto.DataType, tuple[int | str | None, ...]]
_NAMES = {"FLOAT": onnx.TensorProto.FLOAT, "DOUBLE": onnx.TensorProto.DOUBLE}


def infer_types(file: Path) -> dict[str, TypedShape]:
    """Return element type and dims of every tensor that a node of the main graph in `file` writes.

    A copy of the graph with all of them as outputs is written beside `file` and opened, which types them.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")  # nothing runs here, and it costs memory
    with all_outputs(file) as copy, foreign_tool("onnxruntime", file.parent):
        session = ort.InferenceSession(str(copy), options, providers=["CPUExecutionProvider"])
        outputs = session.get_outputs()
    found = {}
    for value in outputs:
        name = value.type.removeprefix("tensor(").removesuffix(")").upper()
        dtype = _NAMES.get(name) or onnx.TensorProto.DataType.Value(name) if value.type.startswith("tensor(") else None
        if dtype is not None:
            found[value.name] = (dtype, tuple(value.shape))
    return found
