"""Traps of tools from the recipe to the verdict: the raw tool's wrong result first, then what the command says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static

from tests.project import Project
from tests.stages.models import floats, mlp, model, node, random, value, weight
from tests.stages.test_quantizer_traps import Reader

RECIPE = """\
format: 1
source: {framework: onnx, path: models/net.onnx}
inputs: {x: {dtype: float32, shape: SHAPE}}
outputs: [y]
dynamic_axes: {batch: {max: 64}}
"""
LABELLED = "calibration: {data: data/d.npz}\nevaluation: {data: data/d.npz, metric: accuracy}\n"


def predict(file: Path, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    found: np.ndarray = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"]).run(["y"], {"x": x})[0]
    return found


def given(project: Project, proto: onnx.ModelProto) -> Path:
    """Write the model of the project's recipe and return its file."""
    for name in ("models", "data"):
        (project.root / "recipes" / name).mkdir(parents=True)
    onnx.save(proto, project.root / "recipes/models/net.onnx")
    return project.root / "recipes/models/net.onnx"


def loud_channel() -> onnx.ModelProto:
    """A Conv that hardly listens to a channel a thousand times as loud as the one that tells the classes apart."""
    kernel = random(1).standard_normal((8, 2, 3, 3)).astype(np.float32)
    kernel[:, 0] *= 1e-5
    return model(
        [
            node("Conv", ["x", "kernel"], ["c"], name="conv/Conv", pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["r"], name="act/Relu"),
            node("Flatten", ["r"], ["f"], name="flat/Flatten"),
            node("MatMul", ["f", "w"], ["y"], name="fc/MatMul"),
        ],
        [onnx.numpy_helper.from_array(kernel, "kernel"), weight("w", 8 * 16, 4)],
        inputs=[value("x", "batch", 2, 4, 4)],
        outputs=[value("y", "batch", 4)],
    )


def test_dynamic_int8_of_every_operator_ruins_what_matmul_alone_does_not_and_repair_finds_it(project: Project) -> None:
    file = given(project, loud_channel())
    x = random(2).standard_normal((96, 2, 4, 4)).astype(np.float32)
    x[:, 0] *= 1000
    labels = predict(file, x).argmax(1)
    raw = project.root / "raw.onnx"
    right = {}
    for name, op_types in (("all", None), ("MatMul", ["MatMul"])):
        quantize_dynamic(file, raw, op_types_to_quantize=op_types)
        right[name] = float((predict(raw, x).argmax(1) == labels).mean())
    assert right["all"] < 0.6
    assert right["MatMul"] > 0.95

    np.savez(project.root / "recipes/data/d.npz", x=x, labels=labels)
    text = RECIPE.replace("SHAPE", "[batch, 2, 4, 4]") + LABELLED
    text += "tolerance: {metric: {at_least: 95% of source}}\n"
    variants = "variants:\n  plain: {quantization: {mode: dynamic}}\n"
    variants += "  repaired: {quantization: {mode: dynamic, repair: true}}\n"
    project.recipe("net", text + variants)
    done = project.make("-k")
    assert done.code == 1
    plain, repaired = (
        done.event("gate", target=f"net:{name}", gate="tolerance.metric") for name in ("plain", "repaired")
    )
    assert (plain["verdict"], repaired["verdict"]) == ("failed", "passed"), done.out + done.err
    assert plain["measured"] < 0.6
    assert "culprit 1. conv" in done.out
    kept = [n.op_type for n in ir.load(project.root / "build/net/repaired/model.onnx").graph]
    assert "Conv" in kept
    assert "MatMulInteger" in kept


def test_a_metric_that_went_up_by_luck_does_not_hide_the_error_of_the_outputs(project: Project) -> None:
    file = given(project, mlp())
    x = random(5).standard_normal((96, 8)).astype(np.float32)
    raw = project.root / "raw.onnx"
    calls = [{"x": x}]
    quantize_static(file, raw, Reader(calls), activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    labels = predict(raw, x).argmax(1)  # as luck has it: those that int8 gets right
    before = float((predict(file, x).argmax(1) == labels).mean())
    assert before < 1.0, "int8 is better than its source by the metric"
    far = float(np.abs(predict(raw, x) - predict(file, x)).max())
    assert far > 0.02

    np.savez(project.root / "recipes/data/d.npz", x=x, labels=labels)
    text = RECIPE.replace("SHAPE", "[batch, 8]") + LABELLED + "quantization: {mode: static}\n"
    limits = "tolerance: {metric: {at_least: 100% of source}, outputs: {y: {max_abs: 0.01}}}\n"
    project.recipe("net", text + limits)
    done = project.make()
    metric = done.event("gate", gate="tolerance.metric")
    output = done.event("gate", gate="tolerance.y.max_abs")
    assert (metric["verdict"], output["verdict"]) == ("passed", "failed")
    assert metric["measured"] > metric["source"]
    assert output["measured"] > 0.02
    assert done.code == 1


BATCH_ONE = """
import onnx_ir as ir


def run(model):
    \"\"\"Take the largest of the rows for each row: the same where there is one.\"\"\"
    x, graph = model.graph.inputs[0], model.graph
    users = list(x.uses())
    axes = ir.Value(name="axes", const_value=ir.tensor([0], name="axes"))
    graph.register_initializer(axes)
    top = ir.Node("", "ReduceMax", [x, axes], num_outputs=1, name="mine/Top")
    rows = ir.Node("", "Max", [top.outputs[0], x], num_outputs=1, name="mine/Rows")
    graph.insert_before(graph[0], [top, rows])
    for node, index in users:
        node.replace_input_with(index, rows.outputs[0])
    return model
"""


def test_a_pass_that_is_right_for_one_row_only_is_found_although_all_data_has_one(project: Project) -> None:
    file = given(project, mlp())
    script = project.write("recipes/passes/mine.py", BATCH_ONE)
    rows = floats("x", *[(1, 8)] * 12)
    for number, call in enumerate(rows):
        np.savez(project.root / f"recipes/data/{number}.npz", **call)
    raw = project.root / "raw.onnx"
    ir.save(apply(script, ir.load(file)), raw)
    for call in rows:
        np.testing.assert_array_equal(predict(raw, call["x"]), predict(file, call["x"]))
    many = np.concatenate([call["x"] for call in rows])
    wanted = predict(file, many)
    assert np.abs(predict(raw, many) - wanted).max() > 0.5

    text = RECIPE.replace("SHAPE", "[batch, 8]") + "evaluation: {data: data}\n"
    text += "passes: [{custom: {function: passes/mine.py:run}}, {onnxscript: optimize}]\n"
    project.recipe("net", text)
    done = project.make()
    assert done.code == 0, done.out + done.err
    (warning,) = [
        w for e in done.events if e["event"] == "action" for w in e["warnings"] if w["code"] == "pass-reverted"
    ]
    assert "passes/mine.py:run breaks the model" in warning["message"]
    sizes = [int(number) for number in re.findall(r"first at batch (\d+)", warning["message"])]
    assert sizes
    assert min(sizes) > 1
    np.testing.assert_allclose(
        predict(project.root / "build/net/default/model.onnx", many), wanted, rtol=1e-5, atol=1e-5
    )
    project.recipe("net", text + "guard: strict\n")
    done = project.make()
    assert done.code == 1
    assert done.event("action", action="net/optimize.1", status="failed")["failure"]["code"] == "pass-broke-model"


def apply(script: Path, proto: ir.Model) -> ir.Model:
    """Return what the function `run` in a script makes of a model."""
    spec = importlib.util.spec_from_file_location("mine", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: ir.Model = module.run(proto)
    return made
