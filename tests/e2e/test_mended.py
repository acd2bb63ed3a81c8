"""`repair: true` where the quantiser fails as asked: it goes on, says so, and the search starts from there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.project import Project

RECIPE = """\
format: 1
source: {framework: onnx, path: models/net.onnx}
inputs: {x: {dtype: float32, shape: [batch, 16]}}
outputs: [y]
dynamic_axes: {batch: {max: 8}}
calibration: {data: data/train.npz}
evaluation: {data: data/test.npz}
tolerance: {outputs: {y: {sqnr_db: 45}}}
quantization: {mode: static, per_channel: true, weights: int8, repair: true}
"""


@pytest.fixture
def project(project: Project) -> Project:
    """Two layers at opset 12, in which per-channel quantisation cannot be written; one of them int8 cannot hold."""
    rng = np.random.default_rng(0)
    wild = rng.normal(size=(16, 16)).astype(np.float32) * np.exp(rng.normal(size=(16, 1)) * 2).astype(np.float32)
    calm = np.eye(16, dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "wild"], ["h"], "wild/MatMul"),
        helper.make_node("Tanh", ["h"], ["t"], "act/Tanh"),
        helper.make_node("MatMul", ["t", "calm"], ["y"], "calm/MatMul"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])],
        [numpy_helper.from_array(wild, "wild"), numpy_helper.from_array(calm, "calm")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7)
    for folder in ("models", "data"):
        (project.root / "recipes" / folder).mkdir(parents=True, exist_ok=True)
    onnx.save(model, project.root / "recipes/models/net.onnx")
    for name in ("train", "test"):
        np.savez(project.root / f"recipes/data/{name}.npz", x=rng.normal(size=(24, 16)).astype(np.float32))
    project.recipe("net", RECIPE)
    return project


def test_what_was_given_up_is_said_and_the_tolerance_is_met_from_there(project: Project, tmp_path: Path) -> None:
    plain = project.recipe("net", RECIPE.replace(", repair: true", ""))
    refused = project.make()
    assert refused.code == 1
    assert "needs opset 13; the model has 12 [opset-too-low]" in refused.err
    assert "hint set `opset: 13` or above, or `per_channel: false`" in refused.err

    plain.write_text(RECIPE)
    done = project.make()
    assert done.code == 0, done.out + done.err
    assert "the model is upgraded to opset 13, because per-channel static quantisation needs opset 13" in done.out
    delivered = onnx.load(project.root / "build/net/default/model.onnx")
    assert delivered.opset_import[0].version == 13
    lock = project.run("accept", "net")
    assert lock.code == 0, lock.err
    entry = json.loads((project.root / "recipes/net.lock.json").read_text())["targets"]["default"]
    assert entry["choice"], "more than the upgrade was needed"
    assert entry["opset"][""] == 13

    clone = Project(tmp_path / "clone")
    shutil.copytree(project.root / "recipes", clone.root / "recipes", dirs_exist_ok=True)
    again = clone.make("--locked")
    assert again.code == 0, again.out + again.err
    twin = json.loads((clone.root / "reports/net.json").read_text())
    (repair,) = [s["repair"] for t in twin["targets"] for s in t["steps"] if s.get("repair")]
    assert len(repair["tried"]) <= 2, "the lock's choice was tried, and nothing searched for"
    assert repair["locked"] == repair["choice"]


def test_a_pinned_opset_is_refused_before_work_with_and_without_repair(project: Project) -> None:
    project.recipe("net", RECIPE.replace("tolerance:", "opset: 12\ntolerance:"))
    done = project.make()
    assert done.code == 2
    assert "per-channel quantisation needs opset 13" in done.err
