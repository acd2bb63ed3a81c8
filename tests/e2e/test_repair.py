"""A missed tolerance through the real command: who is to blame, what repair keeps in float, and that both come once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.project import Done, Project
from tests.stages.searching import joined

RECIPE = """\
format: 1
source: {framework: onnx, path: models/net.onnx}
inputs: {x: {dtype: float32, shape: [batch, 8]}}
outputs: [y]
dynamic_axes: {batch: {max: 64}}
calibration: {data: data/rows.npz}
evaluation: {data: data/rows.npz}
tolerance: {outputs: {y: {sqnr_db: 30}}}
quantization: {mode: static}
variants:
  naive: {}
  repaired: {quantization: {repair: true}}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Done]:
    """A project whose naive variant fails and whose repaired one passes, and what its first make told."""
    project = Project(tmp_path_factory.mktemp("repair"))
    write(project)
    return project, project.make("-k")


def write(project: Project) -> None:
    for name in ("models", "data"):
        (project.root / "recipes" / name).mkdir()
    onnx.save(joined(), project.root / "recipes/models/net.onnx")
    rows = np.random.default_rng(3).standard_normal((64, 8)).astype(np.float32)
    np.savez(project.root / "recipes/data/rows.npz", x=rows)
    project.recipe("net", RECIPE)


def facts(project: Project, target: str) -> dict[str, Any]:
    page = json.loads((project.root / "reports/net.json").read_text())
    return next(t for t in page["targets"] if t["name"] == target)


def repair_facts(project: Project) -> dict[str, Any]:
    steps = facts(project, "net:repaired")["steps"]
    return dict(next(step["repair"] for step in steps if step["label"] == "repair"))


def copy(made: tuple[Project, Done], folder: Path) -> Project:
    shutil.copytree(made[0].root, folder / "project", symlinks=True)
    return Project(folder / "project")


def test_a_missed_tolerance_names_its_culprits_at_once(made: tuple[Project, Done]) -> None:
    project, done = made
    assert done.code == 1
    verdict = done.event("verdict", target="net:naive")
    assert verdict["verdict"] == "failed"
    assert verdict["culprits"][0].startswith("1. fc2: kept in float it uses 0.")
    assert "culprit 1. fc2" in done.out
    assert len(verdict["culprits"]) <= 3
    assert "net:naive/blame" in done.ran or "net/blame" in done.ran
    ranked = facts(project, "net:naive")["blame"]["culprits"]
    assert ranked[0]["layers"] == ["fc2"]
    assert ranked[0]["nodes"] == ["Concat", "fc2/Gemm"]
    assert "Culprits" in (project.root / "reports/net.html").read_text()


def test_repair_keeps_the_one_layer_and_nothing_else_in_float(made: tuple[Project, Done]) -> None:
    project, done = made
    assert done.event("verdict", target="net:repaired")["verdict"] == "passed"
    found = repair_facts(project)
    assert found["layers"] == ["fc2"]
    assert found["choice"] == {"keep": ["Concat", "fc2/Gemm"]}
    assert not found["before"]["meets"]
    assert found["after"]["meets"]
    model = onnx.load(project.root / "build/net/repaired/model.onnx")
    makers = {name: node for node in model.graph.node for name in node.output}
    floats = [n.name for n in model.graph.node if n.op_type == "Gemm" and n.input[1] not in makers]
    assert floats == ["fc2/Gemm"]
    assert done.event("verdict", target="net:repaired")["culprits"] == []


def test_what_was_explained_is_not_explained_again(made: tuple[Project, Done], tmp_path: Path) -> None:
    project = copy(made, tmp_path)
    for _ in range(2):  # from traces, then from the stamp
        again = project.make("-k")
        assert again.code == 1
        assert (again.events[-1]["ran"], again.events[-1]["restored"]) == (0, 0)
        assert again.event("verdict", target="net:naive")["culprits"][0].startswith("1. fc2")
        assert "culprit 1. fc2" in again.out


def test_explain_knows_a_ranking_by_its_name(made: tuple[Project, Done]) -> None:
    project, done = made
    (name,) = (name for name in done.ran if name.endswith("/blame"))
    explained = project.run("explain", name, "--format", "json")
    assert explained.code == 0, explained.err
    (found,) = json.loads(explained.out)
    assert found["standing"]["action"] == name
    assert found["standing"]["decision"] == "up-to-date"
    assert found["last"]["reasons"] == ["never built"]


def test_a_target_that_passes_is_blamed_only_when_that_is_asked_for(made: tuple[Project, Done], tmp_path: Path) -> None:
    project = copy(made, tmp_path)
    assert "blame" not in facts(project, "net:repaired") or facts(project, "net:repaired")["blame"] is None
    done = project.run("blame", "net:repaired", "--format", "json")
    assert done.code == 0
    (found,) = json.loads(done.out).values()
    named = {name for culprit in found["culprits"] for name in culprit["layers"]}
    assert "fc1" in named
    assert "fc2" not in named, "it is kept already"
    text = project.run("blame", "net:naive")
    assert text.code == 0
    assert "fc2" in text.out.splitlines()[2]


def test_a_build_elsewhere_takes_the_locked_choice_without_a_search(made: tuple[Project, Done], tmp_path: Path) -> None:
    project = copy(made, tmp_path)
    assert len(repair_facts(project)["tried"]) > 5
    assert project.run("accept", "net:repaired").code == 0
    assert project.make("net:repaired").actions("run") == []
    shutil.rmtree(project.root / ".onnxbuild")
    done = project.make("net:repaired")
    assert done.code == 0
    found = repair_facts(project)
    assert found["choice"] == {"keep": ["Concat", "fc2/Gemm"]}
    assert len(found["tried"]) == 2, "what the recipe asks for, and what the lock names"
    assert project.make("net:repaired", "--locked").code == 0


def test_what_cannot_be_repaired_fails_with_the_best_found(made: tuple[Project, Done], tmp_path: Path) -> None:
    project = copy(made, tmp_path)
    project.recipe("net", RECIPE.replace("sqnr_db: 30", "sqnr_db: 400"))
    done = project.make("net:repaired")
    assert done.code == 1
    reason = done.event("gate", gate="tolerance.y.sqnr_db")["reason"]
    assert "the best repair found: tolerance.y.sqnr_db" in reason
    assert "in float" in reason
    layers = len({name for tried in repair_facts(project)["tried"] for name in tried["layers"]})
    assert 0 < len(repair_facts(project)["layers"]) <= (layers + 1) // 2, "a model in float is no repair"


def test_what_meets_the_tolerance_is_delivered_as_it_is(made: tuple[Project, Done], tmp_path: Path) -> None:
    project = copy(made, tmp_path)
    project.recipe("net", RECIPE.replace("sqnr_db: 30", "sqnr_db: -40"))
    done = project.make()
    assert done.code == 0
    assert not repair_facts(project)["changed"]
    assert len(repair_facts(project)["tried"]) == 1
    models = [(project.root / f"build/net/{variant}/model.onnx").read_bytes() for variant in ("naive", "repaired")]
    assert models[0] == models[1]
