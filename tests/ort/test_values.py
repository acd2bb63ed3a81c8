"""Looking inside a model: every tensor of one call, but for those that numpy has no elements for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from onnxbuild.ort.values import all_values
from tests.stages.models import FLOAT, model, node, value


def test_a_value_that_numpy_does_not_have_is_left_out_and_the_rest_is_seen(tmp_path: Path) -> None:
    proto = model(
        [
            node("Cast", ["x"], ["narrow"], to=onnx.TensorProto.BFLOAT16),
            node("Cast", ["narrow"], ["wide"], to=FLOAT),
            node("Neg", ["wide"], ["y"]),
        ],
        inputs=[value("x", 2)],
        outputs=[value("y", 2)],
    )
    onnx.save(proto, tmp_path / "model.onnx")
    found = all_values(tmp_path / "model.onnx", {"x": np.array([1, 2], np.float32)})
    assert {name: array.tolist() for name, array in found.items()} == {"x": [1, 2], "wide": [1, 2], "y": [-1, -2]}
