"""Blame: the layer that was made bad is named, in every mode, with where it is and what keeping it costs."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from onnxbuild.ir.facts import Origin
from onnxbuild.recipe.types import Pruning, Quantization
from onnxbuild.stages.blame import BLAME, BlameFacts, BlameParams, origin_of
from tests.stages.models import floats, model, node, value, weight
from tests.stages.searching import bench, joined, proofs

ROWS = floats("x", (32, 8), (32, 8))
ORIGINS = {
    "fc2/Gemm": Origin(module="fc2", file="net.py", line=14),
    "fc1/Gemm": Origin(module="fc1", file="net.py", line=12),
}


def blame(
    folder: Path, proto: onnx.ModelProto, quantization: Quantization | None, pruning: Pruning | None = None
) -> BlameFacts:
    ws = bench(folder, proto, ROWS, ORIGINS)
    return BLAME.run(BlameParams(pruning=pruning, quantization=quantization, proofs=proofs(sqnr_db=40.0)), ws)


def test_the_layer_behind_a_common_scale_is_named_with_its_line_and_its_cost(tmp_path: Path) -> None:
    facts = blame(tmp_path, joined(), Quantization(mode="static"))
    first = facts.culprits[0]
    assert first.layers == ("fc2",)
    assert first.nodes == ("Concat", "fc2/Gemm")
    assert (first.module, first.file, first.line) == ("fc2", "net.py", 14)
    assert facts.base.use > 2 > 1 > first.score.use
    assert first.gain == pytest.approx(facts.base.use - first.score.use)
    assert first.bytes != 0
    assert first.time is not None
    assert first.time > 0
    assert facts.samples == 64
    assert facts.measured == facts.layers == len(facts.culprits)


def outlier(name: str) -> onnx.ModelProto:
    """Return three layers, of which `name` has a few weights far beyond the others, in every block of sixteen."""
    shapes = {"fc1": (8, 32), "fc2": (32, 32), "fc3": (32, 3)}
    weights = [weight(f"{layer}.w", *shape, scale=0.2) for layer, shape in shapes.items()]
    for number, layer in enumerate(shapes):
        if layer == name:
            array = numpy_helper.to_array(weights[number]).copy()
            array[::16] *= 40
            weights[number] = numpy_helper.from_array(array, f"{layer}.w")
    return model(
        [
            node("MatMul", ["x", "fc1.w"], ["a"], name="fc1/MatMul"),
            node("Tanh", ["a"], ["b"], name="one/Tanh"),
            node("MatMul", ["b", "fc2.w"], ["c"], name="fc2/MatMul"),
            node("Tanh", ["c"], ["d"], name="two/Tanh"),
            node("MatMul", ["d", "fc3.w"], ["y"], name="fc3/MatMul"),
        ],
        weights,
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 3)],
    )


@pytest.mark.parametrize("mode", ["dynamic", "static", "int4"])
def test_the_layer_with_an_outlier_is_named_in_every_mode(tmp_path: Path, mode: str) -> None:
    facts = blame(tmp_path, outlier("fc2"), Quantization(mode=mode, block_size=16))
    assert facts.culprits[0].layers == ("fc2",)
    assert facts.culprits[0].score.use < 0.6 * facts.base.use


def test_float16_is_blamed_layer_by_layer(tmp_path: Path) -> None:
    facts = blame(tmp_path, outlier("fc2"), Quantization(mode="float16"))
    assert {"fc1", "fc2", "fc3"} <= {culprit.layers[0] for culprit in facts.culprits}
    assert isinstance(facts.culprits[0].gain, float)
    assert facts.culprits[0].gain > 0


def test_pruning_is_blamed_by_restoring_what_was_pruned(tmp_path: Path) -> None:
    facts = blame(tmp_path, outlier("fc2"), None, Pruning(method="magnitude", sparsity=0.7))
    assert {culprit.layers[0] for culprit in facts.culprits} == {"fc1", "fc2", "fc3"}
    assert isinstance(facts.base.use, float)
    assert facts.culprits[0].score.use < facts.base.use
    assert [culprit.bytes for culprit in facts.culprits] == [0, 0, 0]


def test_a_layer_is_found_in_the_source_by_its_node_else_by_its_module() -> None:
    origins = {
        "block/0/conv/Conv": Origin(module="block.0.conv", file="net.py", line=3),
        "block/0/Add": Origin(module="block.0", file="net.py", line=9),
        "head/Gemm": Origin(module="head", file="net.py", line=20),
    }
    assert origin_of("block/0/conv", ["block/0/conv/Conv"], origins) == origins["block/0/conv/Conv"]
    assert origin_of("block/0/conv", ["block/0/conv/FusedConv"], origins) == origins["block/0/conv/Conv"]
    assert origin_of("block/0/norm", ["block/0/norm/Mul"], origins) == origins["block/0/Add"]
    assert origin_of("tail", ["tail/Mul"], origins) is None
