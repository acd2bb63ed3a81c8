"""Sizes of dynamic axes through the real command: hidden branches, sizes no source takes, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxbuild.api import open_project
from onnxbuild.plan.build import build_plan
from tests.project import MLP, Done, Project, write_mlp


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def failure(done: Done, action: str) -> dict[str, str]:
    found: dict[str, str] = done.event("action", action=action)["failure"]
    return found


def test_every_edge_is_tried_on_the_delivered_and_on_the_exact_model(project: Project) -> None:
    write_mlp(project)
    variants = "variants: {fp32: {}, int8: {quantization: {mode: dynamic}, tolerance: {outputs: {y: {cosine: 0.9}}}}}\n"
    project.recipe("mlp", MLP + "passes: [{onnxruntime: basic}]\n" + variants)
    done = project.make()
    assert done.code == 0, done.err
    twin = json.loads((project.root / "reports/mlp.json").read_text())
    tried = {
        (target["variant"], step["label"]): [
            s["edge"]["sizes"]["batch"] for s in step["accuracy"][0]["facts"]["sizes"] or ()
        ]
        for target in twin["targets"]
        for step in target["steps"]
        for sizes in [accuracy["facts"]["sizes"] for accuracy in step["accuracy"]]
    }
    assert tried["fp32", "canonicalize"] == []
    assert tried["fp32", "optimize"] == tried["int8", "optimize"] == tried["int8", "quantize"] == [1, 9, 64]


def save_reshaping(path: Path) -> None:
    """Write a model that takes rows in pairs: y = x reshaped to [-1, 2, 8], summed over pairs, tiled back."""
    nodes = [
        helper.make_node("Reshape", ["x", "pairs"], ["p"]),
        helper.make_node("Reshape", ["p", "rows"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "pairs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(np.array(a, np.int64), n) for a, n in (([-1, 2, 8], "pairs"), ([-1, 8], "rows"))],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


RESHAPING = """\
format: 1
source: {framework: onnx, path: models/pairs.onnx}
inputs: {x: {dtype: float32, shape: [batch, 8]}}
outputs: [y]
dynamic_axes: {batch: {max: 64%s}}
evaluation: {data: data/even.npz}
"""


def test_an_onnx_file_that_cannot_run_a_declared_size_is_named(project: Project) -> None:
    save_reshaping(project.root / "recipes/models/pairs.onnx")
    (project.root / "recipes/data").mkdir()
    np.savez(project.root / "recipes/data/even.npz", x=np.ones((32, 8), np.float32))
    project.recipe("pairs", RESHAPING % "")
    done = project.make()
    assert done.code == 1
    found = failure(done, "pairs/reference")
    assert found["code"] == "source-fails-at-size"
    assert found["message"].startswith(
        "the source cannot run at batch 1 (nor at batch 9), which `dynamic_axes` declares"
    )
    project.recipe("pairs", RESHAPING % ", min: 2, multiple_of: 2")
    done = project.make()
    assert done.code == 0, done.err


KERAS = """
import keras

class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3, kernel_initializer="ones")

    def call(self, x, training=False):
        y = self.dense(x)
        if x.shape[0] is not None and x.shape[0] < 4:  # a tracer that sees None takes the other way
            return y * 2
        return y

def build():
    return Net()
"""


def test_a_python_branch_on_the_batch_that_tracing_lost_is_found_and_named(project: Project) -> None:
    pytest.importorskip("tensorflow")
    project.write("recipes/models/net.py", KERAS)
    (project.root / "recipes/data").mkdir()
    np.savez(project.root / "recipes/data/x.npz", x=np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32))
    project.recipe(
        "net",
        "format: 1\nsource: {framework: keras, factory: models/net.py:build}\n"
        "inputs: {x: {dtype: float32, shape: [batch, 5]}}\noutputs: [y]\ndynamic_axes: {batch: {max: 32}}\n"
        "evaluation: {data: data/x.npz}\n",
    )
    done = project.make()
    assert done.code == 1, done.out
    gate = done.event("gate", gate="tolerance.y.atol")
    assert gate["verdict"] == "failed"
    assert gate["reason"].endswith("at batch 1")
    assert "at batch 1" in done.out + done.err


def test_sizes_beyond_the_budget_are_told_and_change_no_verdict(project: Project) -> None:
    write_mlp(project)
    project.recipe("mlp", MLP.replace("max: 64", "max: 1000000"))
    done = project.make()
    assert done.code == 0, done.err
    warnings = done.event("action", action="mlp/data")["warnings"]
    assert [w["code"] for w in warnings] == ["size-not-tried"]
    assert warnings[0]["message"].startswith("batch 1000000 stays unverified: its inputs would take 32 MB")
    assert done.event("verdict", target="mlp:default")["verdict"] == "passed"


@pytest.mark.parametrize(
    ("steps", "tried"),
    [
        ("", ["canonicalize"]),
        ("passes: [{onnxruntime: basic}]\n", ["optimize"]),
        ("pruning: {method: magnitude, sparsity: 0.5}\n", ["canonicalize", "prune"]),
        ("quantization: {mode: dynamic}\n", ["canonicalize", "quantize"]),
        ("quantization: {mode: dynamic, repair: true}\n", ["canonicalize", "repair"]),
        ("quantization: {mode: auto, auto: {candidates: [dynamic]}}\n", ["canonicalize", "auto"]),
    ],
)
def test_the_delivered_model_and_the_last_exact_one_are_tried(project: Project, steps: str, tried: list[str]) -> None:
    write_mlp(project)
    project.recipe("mlp", MLP + steps)
    workplace = open_project(project.root, [])
    (plan,) = build_plan(workplace.recipes, workplace.selected).targets
    actions = build_plan(workplace.recipes, workplace.selected).actions
    found = [
        model.label
        for model, name in zip(plan.models, plan.validations["cpu"], strict=True)
        if "edges" in actions[name].inputs
    ]
    assert found == tried
