"""Projects of many small recipes for benchmarks; knows nothing of the engine.

Each recipe has files of its own, equal in content: the first is built, all others find its traces under equal keys.
So ten thousand actions are there within a minute, each with its own inputs, outputs and page.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RECIPE = """\
format: 1
name: {name}
source: {{framework: onnx, path: model.onnx}}
inputs: {{x: {{dtype: float32, shape: [batch, 8]}}}}
outputs: [y]
dynamic_axes: {{batch: {{max: 64}}}}
opset: 20
passes: [{{onnxscript: optimize}}, {{onnxoptimizer: [eliminate_identity]}}]
quantization: {{mode: dynamic}}
evaluation: {{data: test.npz, metric: accuracy}}
tolerance: {{metric: {{at_least: 50% of source}}}}
"""
ACTIONS = 11
"""Actions of one recipe: data, four models, four validations, reference, package."""


def write_project(root: Path, recipes: int) -> None:
    """Write a project of so many recipes below `root`."""
    root.mkdir(parents=True)
    (root / "onnxbuild.yaml").write_text("recipes: recipes/*/recipe.yaml\n")
    first = root / "recipes/r0000"
    for number in range(recipes):
        folder = root / f"recipes/r{number:04}"
        folder.mkdir(parents=True)
        (folder / "recipe.yaml").write_text(RECIPE.format(name=folder.name))
        if number:
            shutil.copyfile(first / "model.onnx", folder / "model.onnx")
            shutil.copyfile(first / "test.npz", folder / "test.npz")
        else:
            _write_model(folder / "model.onnx", folder / "test.npz")


def _write_model(model: Path, data: Path) -> None:
    rng = np.random.default_rng(0)
    w1, w2 = (rng.normal(size=size).astype(np.float32) for size in ((8, 16), (16, 4)))
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h1"], "fc1/MatMul"),
        helper.make_node("Relu", ["h1"], ["h2"], "relu"),
        helper.make_node("Identity", ["h2"], ["h3"], "nothing"),
        helper.make_node("MatMul", ["h3", "w2"], ["y"], "fc2/MatMul"),
    ]
    shape = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", n]) for name, n in (("x", 8), ("y", 4))}
    weights = [numpy_helper.from_array(w1, "w1"), numpy_helper.from_array(w2, "w2")]
    graph = helper.make_graph(nodes, "mlp", [shape["x"]], [shape["y"]], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), model)
    x = rng.normal(size=(96, 8)).astype(np.float32)
    np.savez(data, x=x, labels=(np.maximum(x @ w1, 0) @ w2).argmax(axis=1))


def write_ninja(root: Path, steps: int) -> None:
    """Write a ninja project of so many steps, each of one input and one output, all built."""
    root.mkdir(parents=True)
    lines = ["rule copy", "  command = cp $in $out"]
    for number in range(steps):
        (root / f"in{number}").write_text("x")
        lines.append(f"build out/{number}: copy in{number}")
    (root / "build.ninja").write_text("\n".join(lines) + "\n")
