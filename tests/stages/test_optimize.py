"""Optimize: every entry of `passes` on a real graph, and the promise that outputs stay."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.passes import onnxoptimizer
from onnxbuild.recipe.types import (
    CustomPass,
    Function,
    OnnxoptimizerPass,
    OnnxruntimePass,
    OnnxscriptPass,
    OnnxslimPass,
    OutputTolerance,
    Pass,
    TransformersPass,
)
from onnxbuild.stages import tools
from onnxbuild.stages.optimize import OPTIMIZE, OptimizeFacts, OptimizeParams
from onnxbuild.stages.stage import Workspace
from tests.stages.models import (
    cnn,
    delivered,
    floats,
    gelu_block,
    mlp,
    model,
    node,
    operators,
    outputs_of,
    printed_by_two_processes,
    value,
    weight,
    workspace,
)

IMAGES = floats("image", (1, 1, 8, 8), (3, 1, 8, 8))
CLEAN = ["Conv", "Relu", "Conv", "GlobalAveragePool", "Flatten", "MatMul"]


def optimize(
    tmp_path: Path,
    step: Pass,
    proto: onnx.ModelProto | None = None,
    *,
    code: str | None = None,
    limits: dict[str, OutputTolerance] | None = None,
    calls: list[dict[str, np.ndarray]] = IMAGES,
    guard: str = "revert",
    seconds: float = 1800.0,
) -> tuple[OptimizeFacts, Workspace]:
    ws = replace(workspace(tmp_path, proto or cnn(), calls), seconds=seconds)
    if code is not None:
        ws.files["custom"] = tmp_path / f"pass_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8]}.py"
        ws.files["custom"].write_text(code)
    params = OptimizeParams(step=step, opset=None, ir_version=None, limits=limits or {}, guard=guard)
    return OPTIMIZE.run(params, ws), ws


def custom(**args: float) -> CustomPass:
    return CustomPass(function=Function("passes/mine.py", "run", dict(args)))


def codes(ws: Workspace) -> list[str]:
    return [warning.code for warning in ws.warnings]


@pytest.mark.parametrize("step", [OnnxslimPass(), OnnxruntimePass(level="basic")])
def test_tools_fold_batch_normalization_and_drop_identity(tmp_path: Path, step: Pass) -> None:
    facts, ws = optimize(tmp_path, step)
    graph = delivered(ws)
    assert operators(graph) == CLEAN
    assert facts.changed
    assert facts.nodes_before == 8
    assert facts.worst["logits"] < 1e-5
    assert graph.opset_imports == {"": 20}
    assert graph.ir_version == 10
    assert graph.metadata_props == {"team": "kiosk"}
    assert [v.name for v in graph.graph.inputs] == ["image"]
    assert str(graph.graph.inputs[0].shape) == "[batch,1,8,8]"
    assert codes(ws) == []


def test_onnxscript_optimizes(tmp_path: Path) -> None:
    facts, ws = optimize(tmp_path, OnnxscriptPass())
    assert "BatchNormalization" not in facts.model.operators
    assert "Identity" not in facts.model.operators
    assert codes(ws) == []


def test_onnxoptimizer_applies_just_the_named_passes(tmp_path: Path) -> None:
    facts, _ = optimize(tmp_path / "a", OnnxoptimizerPass(names=("eliminate_identity",)))
    assert "Identity" not in facts.model.operators
    assert "BatchNormalization" in facts.model.operators
    facts, _ = optimize(tmp_path / "b", OnnxoptimizerPass(names=("fuse_bn_into_conv",)))
    assert "Identity" in facts.model.operators
    assert "BatchNormalization" not in facts.model.operators


def test_onnxoptimizer_default_list(tmp_path: Path) -> None:
    facts, _ = optimize(tmp_path, OnnxoptimizerPass())
    assert not {"Identity", "BatchNormalization"} & set(facts.model.operators)


def test_numeric_names_do_not_meet_those_that_onnxoptimizer_makes_up(tmp_path: Path) -> None:
    proto = cnn()
    numbers = {name: str(number) for number, name in enumerate(("c1", "n1", "r1", "i1", "conv1.weight", "bn.var"), 1)}
    for n in proto.graph.node:
        n.input[:] = [numbers.get(name, name) for name in n.input]
        n.output[:] = [numbers.get(name, name) for name in n.output]
    for initializer in proto.graph.initializer:
        initializer.name = numbers.get(initializer.name, initializer.name)
    ws = workspace(tmp_path, cnn(), IMAGES)
    onnx.save(proto, ws.inputs["model"] / "model.onnx")  # as a foreign file, not canonical
    step = OnnxoptimizerPass(names=("fuse_bn_into_conv",))
    facts = OPTIMIZE.run(OptimizeParams(step=step, opset=None, ir_version=None, limits={}), ws)
    assert "BatchNormalization" not in facts.model.operators


def test_an_unknown_pass_name_is_a_failure_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(StageFailure) as caught:
        optimize(tmp_path, OnnxoptimizerPass(names=("fuse_bn_in_conv",)))
    assert caught.value.code == "unknown-pass"
    assert caught.value.hint == "did you mean 'fuse_bn_into_conv'?"


def test_risky_passes_exist_and_warn(tmp_path: Path) -> None:
    assert set(onnxoptimizer.known_passes()) >= onnxoptimizer.RISKY
    _, ws = optimize(tmp_path, OnnxoptimizerPass(names=("replace_einsum_with_matmul",)))
    assert "risky-pass" in codes(ws)


def test_a_pass_that_renames_inputs_is_left_out(tmp_path: Path) -> None:
    facts, ws = optimize(tmp_path, OnnxoptimizerPass(names=("eliminate_identity", "rename_input_output")))
    assert [(r.name, r.broke.code) for r in facts.reverted] == [("rename_input_output", "changed-interface")]
    assert "'image'" in facts.reverted[0].broke.message
    assert [v.name for v in delivered(ws).graph.inputs] == ["image"]
    assert "Identity" not in facts.model.operators


def test_onnxoptimizer_refuses_models_above_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxoptimizer, "PROTOBUF_LIMIT", 1000)
    with pytest.raises(StageFailure, match="2 GB") as caught:
        optimize(tmp_path, OnnxoptimizerPass())
    assert caught.value.code == "model-too-large"


def test_extended_writes_fused_operators(tmp_path: Path) -> None:
    facts, ws = optimize(tmp_path, OnnxruntimePass(level="extended"))
    assert facts.model.operators["com.microsoft.FusedConv"] == 1
    assert delivered(ws).opset_imports == {"": 20, "com.microsoft": 1}


def test_all_is_tied_to_the_machine_and_still_agrees(tmp_path: Path) -> None:
    facts, _ = optimize(tmp_path, OnnxruntimePass(level="all"))
    assert any(name.startswith("com.microsoft") for name in facts.model.operators)
    assert facts.worst["logits"] < 1e-4


TOKENS = floats("x", (1, 3, 8), (2, 5, 8))


def test_transformer_fusions_are_made_and_counted(tmp_path: Path) -> None:
    step = TransformersPass(model_type="bert", num_heads=2, hidden_size=8, expect={"BiasGelu": 1})
    facts, _ = optimize(tmp_path, step, gelu_block(), calls=TOKENS)
    assert facts.model.operators["com.microsoft.BiasGelu"] == 1
    assert "Erf" not in facts.model.operators


def test_a_missing_fusion_is_a_failure_that_says_what_was_found(tmp_path: Path) -> None:
    step = TransformersPass(model_type="bert", num_heads=2, hidden_size=8, expect={"Attention": 6})
    with pytest.raises(StageFailure, match=r"expected 6 Attention, found 0.*1 BiasGelu") as caught:
        optimize(tmp_path, step, gelu_block(), calls=TOKENS)
    assert caught.value.code == "expected-fusion-missing"


def test_fusing_nothing_warns(tmp_path: Path) -> None:
    _, ws = optimize(tmp_path, TransformersPass(model_type="bert"), mlp(), calls=floats("x", (2, 8)))
    assert codes(ws) == ["no-effect"]


def test_an_unknown_model_type_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(StageFailure) as caught:
        optimize(tmp_path, TransformersPass(model_type="brt"))
    assert caught.value.code == "unknown-model-type"
    assert caught.value.hint == "did you mean 'bart'?" or caught.value.hint == "did you mean 'bert'?"


def test_a_custom_pass_gets_its_arguments(tmp_path: Path) -> None:
    code = "def run(model, name):\n    model.graph.name = 'x'\n    n = next(n for n in model.graph if n.name == name)\n"
    code += (
        "    n.outputs[0].replace_all_uses_with(n.inputs[0])\n    model.graph.remove(n, safe=True)\n    return model\n"
    )
    step = CustomPass(function=Function("passes/mine.py", "run", {"name": "drop/Identity"}))
    facts, _ = optimize(tmp_path, step, code=code)
    assert "Identity" not in facts.model.operators
    assert facts.worst == {"logits": 0.0}


@pytest.mark.parametrize(
    ("body", "message"),
    [("return 1", "returned int"), ("return None", "returned NoneType"), ("raise KeyError('oh')", "KeyError: 'oh'")],
)
def test_a_custom_pass_that_is_wrong_is_a_failure(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(StageFailure, match=message) as caught:
        optimize(tmp_path, custom(), code=f"def run(model):\n    {body}\n")
    assert caught.value.code == "user-code"
    assert not (tmp_path / "out" / "model").exists()


SCALE = """
import onnx_ir as ir
def run(model, by):
    value = model.graph.initializers["fc.weight"]
    value.const_value = ir.Tensor((value.const_value.numpy() * by).astype("float32"), name="fc.weight")
    return model
"""


def test_a_pass_that_changes_results_is_left_out(tmp_path: Path) -> None:
    facts, ws = optimize(tmp_path, custom(by=1.01), code=SCALE)
    broke = facts.reverted[0].broke
    assert broke.code == "pass-changed-results"
    assert re.search(r"'logits' differs in 40 of 40 elements, by up to .* on the probe data", broke.message)
    assert 0.005 < float(broke.measures[0].max_rel or 0) < 0.02
    assert not facts.changed
    assert (ws.out / "model/model.onnx").read_bytes() == (ws.inputs["model"] / "model.onnx").read_bytes()
    assert codes(ws) == ["pass-reverted"]


def test_a_strict_guard_fails_and_leaves_what_shows_it(tmp_path: Path) -> None:
    with pytest.raises(StageFailure, match=r"passes/mine\.py:run breaks the model: output 'logits'") as caught:
        optimize(tmp_path, custom(by=1.01), code=SCALE, guard="strict")
    assert caught.value.code == "pass-broke-model"
    assert not (tmp_path / "out" / "model").exists()
    assert (tmp_path / "out" / "repro" / "1-passes-mine-py-run" / "repro.py").is_file()


def test_the_limits_of_the_recipe_decide(tmp_path: Path) -> None:
    loose = {"logits": OutputTolerance(atol=0.0, rtol=0.02)}
    facts, _ = optimize(tmp_path / "a", custom(by=1.01), code=SCALE, limits=loose)
    assert facts.worst["logits"] > 1e-3
    tight = {"logits": OutputTolerance(atol=0.0, rtol=0.005)}
    facts, _ = optimize(tmp_path / "b", custom(by=1.01), code=SCALE, limits=tight)
    assert "40 of 40 elements" in facts.reverted[0].broke.message


def test_not_a_number_matches_only_itself(tmp_path: Path) -> None:
    proto = model([node("Log", ["x"], ["y"], name="log")], inputs=[value("x", 3)], outputs=[value("y", 3)])
    calls = [{"x": np.array([-1.0, 1.0, 0.0], np.float32)}]
    optimize(tmp_path / "a", OnnxslimPass(), proto, calls=calls)
    code = "def run(model):\n    n = next(iter(model.graph))\n    n.op_type = 'Exp'\n    return model\n"
    facts, _ = optimize(tmp_path / "b", custom(), proto, code=code, calls=calls)
    assert re.search(r"by up to (nan|inf)", facts.reverted[0].broke.message)


def test_integer_outputs_must_be_equal(tmp_path: Path) -> None:
    proto = model(
        [node("ArgMax", ["x"], ["y"], name="arg", keepdims=0)],
        inputs=[value("x", 3, 4)],
        outputs=[value("y", 4, dtype=onnx.TensorProto.INT64)],
    )
    code = "def run(model):\n    n = next(iter(model.graph))\n    n.op_type = 'ArgMin'\n    return model\n"
    facts, _ = optimize(tmp_path, custom(), proto, code=code, calls=floats("x", (3, 4)))
    assert facts.reverted[0].broke.message.startswith("output 'y' differs in 4 of 4 elements")


def test_an_invalid_result_is_not_delivered(tmp_path: Path) -> None:
    code = "def run(model):\n    n = next(iter(model.graph))\n    n.op_type = 'Konv'\n    return model\n"
    facts, _ = optimize(tmp_path, custom(), code=code)
    assert facts.reverted[0].broke.code == "invalid-model"
    assert facts.reverted[0].broke.message.startswith("passes/mine.py:run wrote an invalid model")
    assert "Konv" not in facts.model.operators


def test_a_crash_names_the_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxslim

    def crash(*_: object, **__: object) -> None:
        raise ValueError("node with name 'fc/MatMul' is odd")

    monkeypatch.setattr(onnxslim, "slim", crash)
    facts, _ = optimize(tmp_path, OnnxslimPass())
    broke = facts.reverted[0].broke
    assert (broke.code, broke.node) == ("tool-failed", "fc/MatMul")
    assert broke.message.startswith("onnxslim fails: ValueError")
    assert facts.reverted[0].name == "onnxslim"


def test_an_empty_result_is_not_delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What onnxoptimizer returns of a model above 2 GB with protobuf 6; protobuf 7, which raises, is not installed."""
    import google.protobuf
    import onnxoptimizer as tool

    assert google.protobuf.__version__.startswith("6.")
    monkeypatch.setattr(tool, "optimize", lambda *_: onnx.ModelProto())
    facts, _ = optimize(tmp_path, OnnxoptimizerPass())
    assert facts.reverted[0].broke.code == "empty-result"
    assert facts.model.nodes == 8


def test_a_pass_without_effect_warns_and_delivers_the_same_bytes(tmp_path: Path) -> None:
    facts, ws = optimize(tmp_path, custom(), code="def run(model):\n    return model\n")
    assert not facts.changed
    assert codes(ws) == ["no-effect"]
    assert (ws.out / "model/model.onnx").read_bytes() == (ws.inputs["model"] / "model.onnx").read_bytes()


def big() -> onnx.ModelProto:
    """More weights than stay inside the graph file, with an Identity to drop."""
    return model(
        [
            node("MatMul", ["x", "w"], ["h"], name="a/MatMul"),
            node("Identity", ["h"], ["i"], name="id/Identity"),
            node("MatMul", ["i", "v"], ["y"], name="b/MatMul"),
        ],
        [weight("w", 64, 4096, scale=0.05), weight("v", 4096, 64, scale=0.05)],
        inputs=[value("x", "batch", 64)],
        outputs=[value("y", "batch", 64)],
    )


@pytest.mark.parametrize(
    "step", [OnnxscriptPass(), OnnxoptimizerPass(), OnnxslimPass(), OnnxruntimePass(level="basic")]
)
def test_external_weights_stay_as_they_were_and_move_with_the_model(tmp_path: Path, step: Pass) -> None:
    facts, ws = optimize(tmp_path, step, big(), calls=floats("x", (2, 64)))
    assert facts.model.operators == {"MatMul": 2}
    out = ws.out / "model"
    assert (out / "model.onnx.data").read_bytes() == (ws.inputs["model"] / "model.onnx.data").read_bytes()
    moved = out.rename(tmp_path / "moved")
    for leftover in (ws.inputs["model"], ws.scratch):
        leftover.rename(leftover.with_name(leftover.name + "-gone"))
    assert outputs_of(moved, floats("x", (2, 64))[0])["y"].shape == (2, 64)


def test_functions_survive_slim_and_runtime_and_are_refused_by_onnxoptimizer(tmp_path: Path) -> None:
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"], name="Add")], [helper.make_opsetid("", 20)]
    )
    proto = model(
        [node("Twice", ["x"], ["h"], domain="local", name="t"), node("Identity", ["h"], ["y"], name="i")],
        inputs=[value("x", "batch", 2)],
        outputs=[value("y", "batch", 2)],
        functions=[function],
        domains=["local"],
    )
    calls = floats("x", (1, 2))
    for number, step in enumerate((OnnxscriptPass(), OnnxslimPass(), OnnxruntimePass(level="basic"))):
        facts, _ = optimize(tmp_path / str(number), step, proto, calls=calls)
        assert facts.worst in ({"y": 0.0}, {})
    with pytest.raises(StageFailure) as caught:
        optimize(tmp_path / "o", OnnxoptimizerPass(), proto, calls=calls)
    assert caught.value.code == "functions-not-supported"


def test_every_pass_has_its_packages_and_name() -> None:
    for step in (
        OnnxscriptPass(),
        OnnxoptimizerPass(),
        OnnxslimPass(),
        OnnxruntimePass(level="all"),
        TransformersPass(model_type="bert"),
        custom(),
    ):
        params = OptimizeParams(step=step, opset=None, ir_version=None, limits={})
        assert "protobuf" in OPTIMIZE.packages(params)
        assert tools.tool_name(step)
        assert OPTIMIZE.runs_user_code(params) == isinstance(step, CustomPass)


SCRIPT = """
import hashlib, sys, pathlib
from onnxbuild.recipe.types import *
from onnxbuild.stages.optimize import OPTIMIZE, OptimizeParams
from tests.stages.models import cnn, floats, workspace
for number, step in enumerate((OnnxscriptPass(), OnnxoptimizerPass(), OnnxslimPass(), OnnxruntimePass("basic"))):
    ws = workspace(pathlib.Path(sys.argv[1]) / str(number), cnn(), floats("image", (2, 1, 8, 8)))
    OPTIMIZE.run(OptimizeParams(step=step, opset=None, ir_version=None, limits={}), ws)
    print(hashlib.sha256((ws.out / "model/model.onnx").read_bytes()).hexdigest())
"""


@pytest.mark.slow
def test_two_processes_in_two_folders_write_the_same_bytes(tmp_path: Path) -> None:
    texts = printed_by_two_processes(SCRIPT, tmp_path)
    assert len(texts[0].split()) == 4
    assert texts[0] == texts[1]
