"""Guarded passes: real faults of real tools are found, named, left out and shown, and the rest is applied."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxbuild.base.apart import run_apart
from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.passes import onnxoptimizer
from onnxbuild.recipe.types import (
    CustomPass,
    Function,
    OnnxoptimizerPass,
    OnnxruntimePass,
    OutputTolerance,
    TransformersPass,
)
from onnxbuild.stages.optimize import OPTIMIZE, OptimizeFacts, OptimizeParams
from onnxbuild.stages.reverts import Reverted
from tests.stages.models import floats, model, node, outputs_of, value, weight
from tests.stages.test_optimize import SCALE, custom, optimize
from tests.stages.traps import TRAPS, Trap, outputs, pad_pool, squeeze_all


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_a_fault_of_a_tool_is_found_named_and_left_out(tmp_path: Path, trap: Trap) -> None:
    assert not _is_right_raw(trap, tmp_path), "the installed tool does not have this fault any more"
    facts, ws = optimize(tmp_path / "ours", trap.step, trap.proto, calls=trap.calls)
    assert [(r.name, r.broke.code) for r in facts.reverted] == [(trap.culprit, trap.code)]
    for call in trap.calls:
        for ours, source in zip(outputs_of(ws.out / "model", call).values(), outputs(trap.proto, call), strict=True):
            np.testing.assert_allclose(ours, source, rtol=1e-4, atol=1e-5)
    assert [w.code for w in ws.warnings] == ["pass-reverted"]
    assert trap.culprit in ws.warnings[0].message
    assert facts.reverted[0].nodes <= trap.nodes
    _shows_it(ws.out / "repro", facts.reverted[0])


def _is_right_raw(trap: Trap, tmp_path: Path) -> bool:
    """Say whether the tool, called directly, leaves the model's results as they are."""
    try:
        raw = trap.raw(tmp_path)
    except Exception:
        return False
    for call in trap.calls:
        for got, source in zip(outputs(raw, call), outputs(trap.proto, call), strict=True):
            if got.shape != source.shape or not np.allclose(got, source, rtol=1e-2, atol=1e-2):
                return False
    return True


def _shows_it(repro: Path, reverted: Reverted) -> None:
    """Run the script beside the minimal model, which must tell the difference or fail as the tool does."""
    folder = repro / reverted.repro
    done = subprocess.run(
        [sys.executable, "-I", str(folder / "repro.py")], capture_output=True, text=True, timeout=60, check=False
    )
    assert "the model runs; applying the pass" in done.stdout, done.stderr
    if reverted.broke.code == "tool-failed":
        assert done.returncode != 0
        assert "Error" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "difference: " in line]
    found = [line.split("difference: ")[1] for line in lines]
    assert any(not text.startswith(("0.0 ", "none")) for text in found), done.stdout


def numbered(shift: int) -> onnx.ModelProto:
    """Return two Conv and BatchNormalization pairs whose values are all named by numbers, as old exporters did."""

    def n(number: int) -> str:
        return str(number + shift)

    nodes = [
        node("Conv", [n(0), n(1)], [n(2)], name="one/Conv"),
        node("BatchNormalization", [n(2), n(3), n(4), n(5), n(6)], [n(7)], name="one/Norm"),
        node("Relu", [n(7)], [n(8)], name="act/Relu"),
        node("Conv", [n(8), n(9)], [n(10)], name="two/Conv"),
        node("BatchNormalization", [n(10), n(11), n(12), n(13), n(14)], [n(15)], name="two/Norm"),
    ]
    weights = [weight(n(1), 4, 3, 3, 3), weight(n(9), 4, 4, 3, 3)]
    weights += [weight(n(i), 4) for i in (3, 4, 5, 11, 12, 13)]
    weights += [numpy_helper.from_array(np.full(4, 2, np.float32), n(i)) for i in (6, 14)]
    return model(nodes, weights, inputs=[value(n(0), "batch", 3, 8, 8)], outputs=[value(n(15), "batch", 4, 4, 4)])


def test_numeric_names_are_mended_and_caught_where_they_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, calls = OnnxoptimizerPass(names=("eliminate_identity", "fuse_bn_into_conv")), floats("3", (2, 3, 8, 8))
    trap = Trap("numbers", step, numbered(3), calls, "fuse_bn_into_conv")
    # The tool counts the names it makes up over the whole process: each try in a fresh one.
    raw = run_apart(lambda: trap.raw(tmp_path).SerializeToString(), tmp_path / "raw", 60, lambda: None)
    with pytest.raises(Exception, match="Duplicate definition of name"):
        outputs(onnx.load_from_string(raw), calls[0])
    facts, _ = optimize(tmp_path / "mended", step, numbered(3), calls=calls)
    assert facts.reverted == ()
    assert "BatchNormalization" not in facts.model.operators
    monkeypatch.setattr(onnxoptimizer, "_rename_numeric", lambda model: None)
    facts, ws = optimize(tmp_path / "caught", step, numbered(3), calls=calls)
    assert [(r.name, r.broke.code) for r in facts.reverted] == [("fuse_bn_into_conv", "invalid-model")]
    assert "redeclared" in facts.reverted[0].broke.message
    np.testing.assert_allclose(outputs_of(ws.out / "model", calls[0])["18"], outputs(trap.proto, calls[0])[0])


def test_a_fault_that_only_one_row_shows_is_found_on_one_row(tmp_path: Path) -> None:
    from onnxslim import slim

    from onnxbuild.recipe.types import OnnxslimPass

    proto, one, five = squeeze_all(), floats("x", (1, 4))[0], floats("x", (5, 4))[0]
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    raw = slim(copy)
    assert outputs(raw, one)[0].shape == () != outputs(proto, one)[0].shape
    np.testing.assert_array_equal(outputs(raw, five)[0], outputs(proto, five)[0])
    facts, _ = optimize(tmp_path, OnnxslimPass(), proto, calls=[five, one])
    assert [r.name for r in facts.reverted] == ["dead_node_elimination"]
    assert facts.reverted[0].broke.sizes == {"batch": 1}
    facts, _ = optimize(tmp_path / "five", OnnxslimPass(), proto, calls=[five])
    assert facts.reverted == ()
    assert facts.tested.sizes == ({"batch": 5},)


WRONG_AT = """
import numpy as np
import onnx_ir as ir
def run(model, size):
    # adds 1 to every output where there are just `size` rows
    graph = model.graph
    out, old = graph.outputs[0], graph.outputs[0].producer()
    def add(op, inputs, **attributes):
        n = ir.node(op, inputs, attributes=attributes)
        graph.append(n)
        return n.outputs[0]
    def const(name, array):
        v = ir.Value(name=name, const_value=ir.Tensor(array, name=name))
        graph.register_initializer(v)
        return v
    rows = add("Shape", [graph.inputs[0]], start=0, end=1)
    same = add("Equal", [rows, const("size", np.array([size]))])
    more = add("Cast", [same], to=1)
    new = add("Add", [out, more])
    new.shape, new.type, name = out.shape, out.type, out.name
    out.name, new.name = "inner", name
    graph.outputs[0] = new
    return model
"""


@pytest.mark.parametrize("size", [1, 3])
def test_a_custom_pass_that_is_wrong_at_one_size_only(tmp_path: Path, size: int) -> None:
    step = CustomPass(function=Function("passes/mine.py", "run", {"size": size}))
    facts, ws = optimize(tmp_path, step, code=WRONG_AT)
    assert facts.reverted[0].broke.sizes == {"batch": size}
    assert f"(first at batch {size})" in facts.reverted[0].broke.message
    assert not facts.changed
    _shows_it(ws.out / "repro", facts.reverted[0])


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("import os; os._exit(0)", "tool-crashed", "left with exit status 0"),
        ("import ctypes; ctypes.string_at(0)", "tool-crashed", "ended by SIGSEGV"),
        ("import threading; threading.Event().wait()", "tool-hung", "did not end within 1 s"),
        ("model.graph.outputs.clear(); return model", "changed-interface", "outputs from ['logits'] to []"),
        ("model.graph.outputs[0].name = 'z'; return model", "changed-interface", "to ['z']"),
        (
            "import onnx_ir as ir; return ir.Model(ir.Graph([], [], nodes=[], opset_imports={'': 20}), ir_version=10)",
            "changed-interface",
            "inputs from ['image'] to []",
        ),
    ],
)
def test_a_custom_pass_that_ends_badly_is_left_out(tmp_path: Path, body: str, code: str, message: str) -> None:
    facts, ws = optimize(tmp_path, custom(), code=f"def run(model):\n    {body}\n", seconds=8)
    assert facts.reverted[0].broke.code == code
    assert message in facts.reverted[0].broke.message
    assert (ws.out / "model/model.onnx").read_bytes() == (ws.inputs["model"] / "model.onnx").read_bytes()
    assert (ws.out / "repro" / facts.reverted[0].repro / "custom_pass.py").is_file()


def test_a_model_that_the_probe_data_cannot_run_is_no_fault_of_the_pass(tmp_path: Path) -> None:
    with pytest.raises(StageFailure, match="before the pass the model does not run") as caught:
        optimize(tmp_path, OnnxruntimePass("basic"), calls=floats("image", (2, 3, 8, 8)))
    assert caught.value.code == "probe-does-not-run"


def test_sizes_beyond_the_budget_are_skipped_and_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxbuild.stages import trial

    calls = floats("image", (40, 1, 8, 8), (1, 1, 8, 8), (2, 1, 8, 8))
    facts, _ = optimize(tmp_path / "all", OnnxruntimePass("basic"), calls=calls)
    assert facts.tested.sizes == ({"batch": 1}, {"batch": 2}, {"batch": 40})
    assert facts.tested.skipped == ()
    monkeypatch.setattr(trial, "WORK", 200_000)  # one row takes about 50,000 multiply-adds
    facts, _ = optimize(tmp_path / "few", OnnxruntimePass("basic"), calls=calls)
    assert facts.tested.sizes == ({"batch": 1}, {"batch": 2})
    assert facts.tested.skipped == ({"batch": 40},)
    monkeypatch.setattr(trial, "WORK", 0)
    facts, _ = optimize(tmp_path / "one", OnnxruntimePass("basic"), calls=calls)
    assert facts.tested.sizes == ({"batch": 1},)


def test_a_healthy_list_costs_one_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxbuild.stages import trial

    tries: list[object] = []
    attempt = trial.Bench.attempt
    monkeypatch.setattr(trial.Bench, "attempt", lambda self, *a: tries.append(a) or attempt(self, *a))
    optimize(tmp_path, OnnxoptimizerPass())
    assert len(tries) == 1


def holds(facts: OptimizeFacts, guard: str = "revert", **limits: float) -> bool:
    named = {"logits": OutputTolerance(**limits)} if limits else {}
    return OPTIMIZE.holds(
        OptimizeParams(step=custom(by=1.01), opset=None, ir_version=None, limits=named, guard=guard), facts
    )


def test_a_trace_holds_while_the_limits_decide_the_same(tmp_path: Path) -> None:
    reverted, _ = optimize(tmp_path / "a", custom(by=1.01), code=SCALE)
    assert holds(reverted)
    assert holds(reverted, atol=0.0, rtol=0.005)
    assert not holds(reverted, atol=0.0, rtol=0.02)  # today it would be kept
    assert not holds(reverted, guard="strict")
    loose = {"logits": OutputTolerance(atol=0.0, rtol=0.02)}
    kept, _ = optimize(tmp_path / "b", custom(by=1.01), code=SCALE, limits=loose)
    assert holds(kept, atol=0.0, rtol=0.02)
    assert holds(kept, guard="strict", atol=0.0, rtol=0.02)
    assert not holds(kept, atol=0.0, rtol=0.005)  # today it would be left out
    assert not holds(kept)


@pytest.mark.parametrize(
    ("dtype", "by", "is_kept"),
    [
        (np.float32, 1.0005, True),
        (np.float32, 1.002, False),
        (np.float64, 1.0005, False),
        (np.float64, 1 + 1e-9, True),
        (np.float16, 1.004, True),
        (np.float16, 1.03, False),
    ],
)
def test_what_a_pass_may_change_follows_the_dtype(tmp_path: Path, dtype: type, by: float, is_kept: bool) -> None:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    proto = model(
        [node("MatMul", ["x", "w"], ["h"], name="fc/MatMul"), node("Abs", ["h"], ["logits"], name="end/Abs")],
        [weight("w", 8, 4, dtype=dtype)],
        inputs=[value("x", "batch", 8, dtype=kind)],
        outputs=[value("logits", "batch", 4, dtype=kind)],
    )
    code = SCALE.replace("fc.weight", "w").replace('"float32"', f'"{np.dtype(dtype).name}"')
    calls = [{"x": np.ones((2, 8), dtype)}]
    facts, _ = optimize(tmp_path, custom(by=by), proto, code=code, calls=calls)
    assert (facts.reverted == ()) == is_kept, facts
    assert facts.tested.precision == np.dtype(dtype).name


def test_several_faults_of_one_list_are_all_left_out(tmp_path: Path) -> None:
    names = ("eliminate_identity", "fuse_pad_into_pool", "rename_input_output", "eliminate_deadend")
    facts, ws = optimize(tmp_path, OnnxoptimizerPass(names=names), pad_pool(), calls=floats("x", (2, 3, 8, 8)))
    assert sorted(r.name for r in facts.reverted) == ["fuse_pad_into_pool", "rename_input_output"]
    assert "Identity" not in facts.model.operators
    script = next((ws.out / "repro").glob("*-fuse_pad_into_pool/repro.py")).read_text()
    assert "(onnx.load(MODEL), ['fuse_pad_into_pool'])" in script  # the culprit alone
    assert sorted(folder.name for folder in (ws.out / "repro").iterdir()) == sorted(r.repro for r in facts.reverted)


def test_a_model_that_draws_random_numbers_is_not_compared(tmp_path: Path) -> None:
    proto = model(
        [
            node("Identity", ["x"], ["i"], name="drop/Identity"),  # ONNX Runtime draws by the node's number
            node("RandomNormalLike", ["i"], ["r"], name="noise/Random"),
            node("Add", ["x", "r"], ["y"], name="end/Add"),
        ],
        inputs=[value("x", "batch", 4)],
        outputs=[value("y", "batch", 4)],
    )
    facts, ws = optimize(
        tmp_path, OnnxoptimizerPass(names=("eliminate_identity",)), proto, calls=floats("x", (1, 4), (2, 4))
    )
    assert facts.reverted == ()
    assert "Identity" not in facts.model.operators
    assert facts.tested.sizes == ()
    assert facts.tested.skipped == ({"batch": 1}, {"batch": 2})
    assert [w.code for w in ws.warnings] == ["not-compared"]


def test_each_axis_goes_to_its_edges_and_the_joint_corner_is_left_to_the_final_model(tmp_path: Path) -> None:
    from onnxbuild.data.edge import Edge
    from onnxbuild.data.edges import write_edges
    from onnxbuild.stages.stage import Workspace
    from tests.stages.models import gelu_block, workspace

    edges = [
        Edge(sizes={"batch": batch, "time": time}, corner=(batch, time) == (6, 9))
        for batch, time in ((1, 1), (1, 9), (6, 1), (6, 9))
    ]
    ws: Workspace = workspace(tmp_path, gelu_block(), floats("x", (2, 3, 8)))
    ws.inputs["edges"] = tmp_path / "edges"
    step = TransformersPass(model_type="bert", num_heads=2, hidden_size=8)
    made = [(edge, floats("x", (edge.sizes["batch"], edge.sizes["time"], 8))[0]) for edge in edges]
    write_edges(ws.inputs["edges"], made)
    facts = OPTIMIZE.run(OptimizeParams(step=step, opset=None, ir_version=None, limits={}), ws)
    assert [tuple(sizes.values()) for sizes in facts.tested.sizes] == [(1, 1), (2, 3), (6, 1), (1, 9)]
    assert facts.tested.skipped == ()
