"""A model of one node: what a process needs that runs no model to speak of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from onnxbuild.ir.model import MODEL


def write_trivial_model(folder: Path) -> dict[str, np.ndarray]:
    """Write the model into `folder` and return a call for it."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "trivial", [x], [y])
    folder.mkdir()
    (folder / MODEL).write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    return {"x": np.zeros(1, np.float32)}
