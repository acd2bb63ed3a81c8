"""Models at the edge through every step: bodies, recurrence, shared weights, trees, no weights, quantised before.

Each either comes out right, or unchanged with a warning, or is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import (
    OnnxruntimePass,
    OnnxscriptPass,
    OnnxslimPass,
    Pass,
    Pruning,
    Quantization,
)
from onnxbuild.stages import quantizing, static
from onnxbuild.stages.optimize import OPTIMIZE, OptimizeParams
from onnxbuild.stages.prune import PRUNE, PruneParams
from onnxbuild.stages.quantize import QUANTIZE, QuantizeParams
from onnxbuild.stages.stage import Workspace
from tests.stages.models import FLOAT, floats, model, node, outputs_of, value, weight, workspace

INT64, BOOL = onnx.TensorProto.INT64, onnx.TensorProto.BOOL


def array(name: str, values: Any, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def loop() -> onnx.ModelProto:
    """Three times h = h @ w, the weight captured from outside the body."""
    body = helper.make_graph(
        [
            node("MatMul", ["state", "w"], ["next"], name="body/MatMul"),
            node("Identity", ["cond"], ["go"], name="body/Go"),
        ],
        "body",
        [value("i", dtype=INT64), value("cond", dtype=BOOL), helper.make_tensor_value_info("state", FLOAT, None)],
        [value("go", dtype=BOOL), helper.make_tensor_value_info("next", FLOAT, None)],
    )
    return model(
        [node("Loop", ["times", "", "x"], ["y"], name="loop/Loop", body=body)],
        [weight("w", 8, 8, scale=0.3), array("times", 3, np.int64)],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 8)],
    )


def scan() -> onnx.ModelProto:
    """A running sum of x @ w along the first axis."""
    body = helper.make_graph(
        [
            node("MatMul", ["row", "w"], ["p"], name="body/MatMul"),
            node("Add", ["sum", "p"], ["total"], name="body/Add"),
            node("Identity", ["total"], ["out"], name="body/Out"),
        ],
        "body",
        [value("sum", 1, 8), value("row", 1, 8)],
        [value("total", 1, 8), value("out", 1, 8)],
    )
    return model(
        [node("Scan", ["zero", "x"], ["last", "y"], name="scan/Scan", body=body, num_scan_inputs=1)],
        [weight("w", 8, 8, scale=0.3), array("zero", np.zeros((1, 8)))],
        inputs=[value("x", "batch", 1, 8)],
        outputs=[value("y", "batch", 1, 8)],
    )


def recurrent(kind: str, gates: int) -> onnx.ModelProto:
    return model(
        [
            node(kind, ["x", "w", "r"], ["h"], name="rnn/Cell", hidden_size=6),
            node("MatMul", ["h", "out"], ["y"], name="out/MatMul"),
        ],
        [weight("w", 1, gates * 6, 8), weight("r", 1, gates * 6, 6), weight("out", 6, 4)],
        inputs=[value("x", 5, "batch", 8)],
        outputs=[value("y", 5, 1, "batch", 4)],
    )


def shared() -> onnx.ModelProto:
    """One weight in two MatMuls and, transposed, in a Gemm."""
    return model(
        [
            node("MatMul", ["x", "w"], ["a"], name="one/MatMul"),
            node("Relu", ["a"], ["r"], name="act/Relu"),
            node("MatMul", ["r", "w"], ["b"], name="two/MatMul"),
            node("Gemm", ["b", "w"], ["y"], name="three/Gemm", transB=1),
        ],
        [weight("w", 32, 32, scale=0.2)],
        inputs=[value("x", "batch", 32)],
        outputs=[value("y", "batch", 32)],
    )


def trees() -> onnx.ModelProto:
    tree = node(
        "TreeEnsembleRegressor", ["x"], ["y"], name="trees/Trees", domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[2, 0, 0], nodes_values=[0.1, 0.0, 0.0],
        nodes_hitrates=[1.0, 1.0, 1.0], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0], nodes_missing_value_tracks_true=[0, 0, 0], target_treeids=[0, 0],
        target_nodeids=[1, 2], target_ids=[0, 0], target_weights=[-1.5, 2.5],
    )  # fmt: skip
    proto = model([tree], inputs=[value("x", "batch", 8)], outputs=[value("y", "batch", 1)])
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return proto


def nothing() -> onnx.ModelProto:
    """No weight at all."""
    return model([node("Relu", ["x"], ["y"], name="act/Relu")], inputs=[value("x", "batch", 8)],
                 outputs=[value("y", "batch", 8)])  # fmt: skip


MODELS: dict[str, tuple[Callable[[], onnx.ModelProto], list[dict[str, np.ndarray]]]] = {
    "loop": (loop, floats("x", (1, 8), (4, 8))),
    "scan": (scan, floats("x", (1, 1, 8), (5, 1, 8))),
    "lstm": (lambda: recurrent("LSTM", 4), floats("x", (5, 1, 8), (5, 3, 8))),
    "gru": (lambda: recurrent("GRU", 3), floats("x", (5, 1, 8), (5, 3, 8))),
    "shared": (shared, floats("x", (1, 32), (4, 32))),
    "trees": (trees, floats("x", (1, 8), (9, 8))),
    "nothing": (nothing, floats("x", (1, 8), (4, 8))),
}
UNCHANGED = {
    ("trees", "dynamic"), ("trees", "static"), ("trees", "int4"), ("trees", "float16"),
    ("nothing", "dynamic"), ("nothing", "static"), ("nothing", "int4"),
}  # fmt: skip
"""Where there is nothing that the mode can quantise: delivered as it is, and said."""
MOST = {"dynamic": 0.1, "static": 0.1, "int4": 0.5, "float16": 0.02}
"""How far an output may be from float32, as a share of its largest value."""


def distance(ws: Workspace, calls: list[dict[str, np.ndarray]]) -> float:
    worst = 0.0
    for call in calls:
        wanted, got = outputs_of(ws.inputs["model"], call), outputs_of(ws.out / "model", call)
        assert wanted.keys() == got.keys()
        for name, before in wanted.items():
            assert got[name].shape == before.shape
            worst = max(worst, float(np.abs(got[name] - before).max() / (np.abs(before).max() + 1e-9)))
    return worst


@pytest.mark.parametrize("mode", MOST)
@pytest.mark.parametrize("name", MODELS)
def test_quantised(tmp_path: Path, name: str, mode: str) -> None:
    make, calls = MODELS[name]
    ws = workspace(tmp_path, make(), calls)
    facts = QUANTIZE.run(QuantizeParams(quantization=Quantization(mode=mode, block_size=16)), ws)
    assert distance(ws, calls) <= MOST[mode]
    codes = [warning.code for warning in ws.warnings]
    if (name, mode) in UNCHANGED:
        assert not facts.changed
        assert "no-effect" in codes
        assert (ws.out / "model/model.onnx").read_bytes() == (ws.inputs["model"] / "model.onnx").read_bytes()
    else:
        assert facts.changed
        assert facts.quantized
        assert "no-effect" not in codes


@pytest.mark.parametrize("mode", MOST)
def test_where_a_mode_knows_no_operator_no_tool_is_called(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lay_out(*_: object) -> Path:
        raise AssertionError("of a large ensemble this would be another copy")

    monkeypatch.setattr(quantizing, "lay_out", lay_out)
    monkeypatch.setattr(static, "lay_out", lay_out)
    make, calls = MODELS["trees"]
    ws = workspace(tmp_path, make(), calls)
    facts = QUANTIZE.run(QuantizeParams(quantization=Quantization(mode=mode)), ws)
    assert (facts.changed, facts.kept) == (False, {"TreeEnsembleRegressor": 1} if mode == "float16" else {})
    assert [warning.code for warning in ws.warnings] == ["no-effect"]


@pytest.mark.parametrize("calibrate", ["entropy", "percentile", "distribution"])
def test_nothing_to_calibrate_is_no_failure(tmp_path: Path, calibrate: str) -> None:
    make, calls = MODELS["trees"]
    ws = workspace(tmp_path, make(), calls)
    facts = QUANTIZE.run(QuantizeParams(quantization=Quantization(mode="static", calibrate=calibrate)), ws)
    assert not facts.changed
    assert [warning.code for warning in ws.warnings] == ["no-effect"]


@pytest.mark.parametrize(
    "step", [OnnxscriptPass(), OnnxslimPass(), OnnxruntimePass("basic")], ids=lambda p: type(p).__name__
)
@pytest.mark.parametrize("name", MODELS)
def test_optimised(tmp_path: Path, name: str, step: Pass) -> None:
    make, calls = MODELS[name]
    ws = workspace(tmp_path, make(), calls)
    OPTIMIZE.run(OptimizeParams(step=step, opset=None, ir_version=None, limits={}), ws)
    assert distance(ws, calls) <= 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_pruned(tmp_path: Path, name: str) -> None:
    make, calls = MODELS[name]
    ws = workspace(tmp_path, make(), calls)
    PRUNE.run(PruneParams(pruning=Pruning(method="magnitude", sparsity=0.5)), ws)
    distance(ws, calls)  # it loads and runs
    weightless = {"trees", "nothing"}
    before, after = (folder / "model.onnx" for folder in (ws.inputs["model"], ws.out / "model"))
    assert (before.read_bytes() == after.read_bytes()) == (name in weightless)
    assert ("no-effect" in [warning.code for warning in ws.warnings]) == (name in weightless)
    if name == "shared":
        graph = onnx.load(ws.out / "model/model.onnx")
        (pruned,) = [numpy_helper.to_array(t) for t in graph.graph.initializer if t.name == "w"]
        assert np.count_nonzero(pruned == 0) == 32 * 32 // 2, "a weight that several nodes share is pruned once"


@pytest.mark.parametrize("mode", MOST)
def test_quantised_before(tmp_path: Path, mode: str) -> None:
    make, calls = MODELS["shared"]
    first = workspace(tmp_path / "first", make(), calls)
    QUANTIZE.run(QuantizeParams(quantization=Quantization(mode="static")), first)
    second = workspace(tmp_path / "second", onnx.load(first.out / "model/model.onnx"), calls)
    with pytest.raises(StageFailure) as caught:
        QUANTIZE.run(QuantizeParams(quantization=Quantization(mode=mode)), second)
    assert caught.value.code == "already-quantized"
    assert caught.value.node
    for step in (OnnxscriptPass(), OnnxslimPass(), OnnxruntimePass("basic")):
        ws = workspace(tmp_path / type(step).__name__, onnx.load(first.out / "model/model.onnx"), calls)
        OPTIMIZE.run(OptimizeParams(step=step, opset=None, ir_version=None, limits={}), ws)
        assert distance(ws, calls) <= 1e-5
