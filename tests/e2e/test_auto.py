"""`mode: auto`: candidates measured, the best that meets the tolerance delivered as it is, and frozen by the lock."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.project import Done, Project

AUTO = """\
format: 1
source: {framework: onnx, path: models/net.onnx}
inputs: {x: {dtype: float32, shape: [batch, 64]}}
outputs: [y]
dynamic_axes: {batch: {max: 16}}
calibration: {data: data/train.npz}
evaluation: {data: data/test.npz, metric: accuracy}
tolerance: {outputs: {y: {sqnr_db: 20}}, metric: {at_least: 97% of source}}
quantization:
  mode: auto
  auto: {candidates: [dynamic, static, float16], objective: size}
"""


def write_net(project: Project) -> None:
    """Write a classifier of two MatMuls wide enough that int8 is smaller, with data."""
    rng = np.random.default_rng(0)
    w1, w2 = (rng.normal(size=s).astype(np.float32) / 8 for s in ((64, 256), (256, 8)))
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], "fc1/MatMul"),
        helper.make_node("Relu", ["h"], ["r"], "act/Relu"),
        helper.make_node("MatMul", ["r", "w2"], ["y"], "fc2/MatMul"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(w1, "w1"), numpy_helper.from_array(w2, "w2")],
    )
    for folder in ("models", "data"):
        (project.root / "recipes" / folder).mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, project.root / "recipes/models/net.onnx")
    x = rng.normal(size=(48, 64)).astype(np.float32)
    labels = (np.maximum(x @ w1, 0) @ w2).argmax(axis=1)
    np.savez(project.root / "recipes/data/test.npz", x=x, labels=labels)
    np.savez(project.root / "recipes/data/train.npz", x=rng.normal(size=(16, 64)).astype(np.float32))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    project = Project(tmp_path_factory.mktemp("auto") / "project")
    write_net(project)
    project.recipe("net", AUTO)
    done = project.make()
    assert done.code == 0, done.out + done.err
    return project.root, done


@pytest.fixture
def project(built: tuple[Path, Done], tmp_path: Path) -> Project:
    shutil.copytree(built[0], tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def facts(project: Project) -> dict[str, Any]:
    """What the auto stage told, from the report's JSON twin."""
    twin = json.loads((project.root / "reports/net.json").read_text())
    (found,) = [s["auto"] for t in twin["targets"] for s in t["steps"] if s.get("auto")]
    return dict(found)


def operators(project: Project) -> set[str]:
    return {n.op_type for n in onnx.load(project.root / "build/net/default/model.onnx").graph.node}


def test_the_smallest_that_meets_the_tolerance_is_delivered_as_it_is(project: Project) -> None:
    told = facts(project)
    by_mode = {candidate["mode"]: candidate for candidate in told["candidates"]}
    assert list(by_mode) == ["none", "dynamic", "static", "float16"]
    able = {mode: c["score"]["bytes"] for mode, c in by_mode.items() if c["score"]["meets"]}
    winner = told["choice"]["winner"]
    assert able[winner] == min(able.values())
    assert winner in ("dynamic", "static")
    assert operators(project) & {"MatMulInteger", "QuantizeLinear"}
    for candidate in by_mode.values():
        timing = candidate["timing"]
        assert 0 < timing["lower"] <= timing["median"] <= timing["upper"]
        assert timing["samples"] >= 15


def test_the_report_shows_the_front_and_marks_the_chosen_point(project: Project) -> None:
    page = (project.root / "reports/net.html").read_text()
    assert "<h3>Choice</h3>" in page
    assert 'class="chart front"' in page
    assert page.count('class="ring"') == 1
    assert "· chosen" in page
    for name in ("float32", "dynamic int8", "static int8", "float16"):
        assert name in page


def test_a_candidate_that_cannot_be_made_or_misses_is_dropped_with_its_reason(project: Project) -> None:
    recipe = AUTO.replace("sqnr_db: 20", "sqnr_db: 45").replace("candidates: [", "candidates: [int4, ")
    project.recipe("net", recipe.replace("  mode: auto", "  mode: auto\n  op_types: [MatMul]\n  block_size: 256"))
    done = project.make()
    assert done.code == 0, done.out + done.err
    by_mode = {candidate["mode"]: candidate for candidate in facts(project)["candidates"]}
    assert by_mode["dynamic"]["dropped"].startswith("misses the tolerance: tolerance.y.sqnr_db")
    assert by_mode["int4"]["dropped"]
    assert facts(project)["choice"]["winner"] == "float16"


def test_float32_wins_where_nothing_else_meets_the_tolerance_and_that_is_said(project: Project) -> None:
    project.recipe("net", AUTO.replace("sqnr_db: 20", "sqnr_db: 120"))
    done = project.make()
    assert done.code == 0, done.out + done.err
    assert "float32 wins" in done.out
    assert facts(project)["choice"]["winner"] == "none"
    assert operators(project) == {"MatMul", "Relu"}
    assert "float32 wins" in (project.root / "reports/net.html").read_text()


def test_the_tolerance_is_in_the_key_and_nothing_runs_twice(project: Project) -> None:
    assert project.make().actions() == []
    project.recipe("net", AUTO.replace("sqnr_db: 20", "sqnr_db: 21"))
    assert "net/auto" in project.make().ran


def test_accepted_a_choice_needs_no_search_in_another_clone(project: Project, tmp_path: Path) -> None:
    assert project.run("accept", "net").code == 0
    winner = facts(project)["choice"]["winner"]
    lock = json.loads((project.root / "recipes/net.lock.json").read_text())
    assert lock["targets"]["default"]["choice"] == {"winner": winner}
    assert project.make().actions() == [], "a make after accept runs nothing"

    clone = Project(tmp_path / "clone")
    shutil.copytree(project.root / "recipes", clone.root / "recipes", dirs_exist_ok=True)
    done = clone.make("--locked")
    assert done.code == 0, done.out + done.err
    told = facts(clone)
    assert told["from_lock"]
    assert [candidate["mode"] for candidate in told["candidates"]] == [winner], "nothing else was made or measured"
    assert told["candidates"][0]["timing"] is None


def test_a_locked_choice_that_misses_is_searched_for_again_and_fails_locked(project: Project) -> None:
    assert project.run("accept", "net").code == 0
    project.recipe("net", AUTO.replace("sqnr_db: 20", "sqnr_db: 45"))
    locked = project.make("--locked")
    assert locked.code == 1
    assert 'choice is {"winner":"float16"}, accepted is' in locked.out
    assert facts(project)["choice"]["winner"] == "float16"
    assert not facts(project)["from_lock"]
    assert project.make().code == 0
    assert project.make().actions() == [], "the lock's choice was tried: it is not tried again each time"


def test_a_lock_with_another_choice_stands_in_for_what_was_found(project: Project) -> None:
    assert project.run("accept", "net").code == 0
    path = project.root / "recipes/net.lock.json"
    lock = json.loads(path.read_text())
    lock["targets"]["default"]["choice"]["winner"] = "float16"
    path.write_text(json.dumps(lock))
    done = project.make()
    assert "net/auto" in done.ran
    assert facts(project)["choice"]["winner"] == "float16"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("calibration: {data: data/train.npz}\n", "", "static quantisation needs `calibration`"),
        ("objective: size", "objective: speed", "must be one of accuracy, latency, size"),
        ("[dynamic, static, float16]", "[none]", "nothing to choose from"),
        ("objective: size", "objective: size, provider: cuda", "not proved on cuda"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_place(project: Project, old: str, new: str, said: str) -> None:
    project.recipe("net", AUTO.replace(old, new))
    done = project.run("check")
    assert done.code == 2
    assert said in done.out + done.err
