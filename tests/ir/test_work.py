"""Multiply-adds estimated from shapes alone."""

from __future__ import annotations

import pytest

from onnxbuild.ir.work import estimate
from tests.stages.models import cnn, mlp, model, node, value, weight


def test_layers_count_what_they_sum() -> None:
    work, written = estimate(mlp(), {"x": (3, 8)})
    assert work - (3 * 16 + 16 * 8) == 3 * (16 * 8 + 4 * 16)  # besides Relu and the Constant
    assert written == 16 * 8 + 3 * 16 * 2 + 3 * 4


@pytest.mark.parametrize("batch", [1, 5])
def test_a_convolution_counts_every_position(batch: int) -> None:
    work, _ = estimate(cnn(), {"image": (batch, 1, 8, 8)})
    layers = 8 * 64 * 9 + 16 * 36 * 72 + 16 * 10
    others = 3 * 8 * 64 + 16 + 16
    assert work == batch * (layers + others)


def test_where_shapes_are_unknown_weights_count_for_every_row() -> None:
    proto = model(
        [node("Reshape", ["x", "shape"], ["r"], name="a"), node("MatMul", ["r", "w"], ["y"], name="b")],
        [weight("w", 16, 4)],
        inputs=[value("x", "batch", 8), value("shape", 2, dtype=7)],
        outputs=[value("y", "p", 4)],
    )
    assert estimate(proto, {"x": (6, 8), "shape": (2,)})[0] == 6 * 16 * 4
