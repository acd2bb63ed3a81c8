"""What a change runs again, and what it leaves alone; each test edits its own copy of one built project."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.project import MLP, Done, Project, write_mlp

LOADER = """\
import json
import pathlib

import numpy as np

from scaling import SCALE


def load(part):
    seed = json.loads(pathlib.Path("data/seed.json").read_text())["seed"]
    x = np.random.default_rng(seed).normal(size=(24, 8)) * SCALE
    return {"x": x.astype(np.float32)}
"""
PASS = """\
def run(model, prefix):
    for node in model.graph:
        node.name = f"{prefix}/{node.name}"
    return model
"""
METRIC = """\
def share(outputs, labels, inputs):
    return float((outputs["y"].argmax(axis=1) == labels).mean())
"""
RECIPE = """\
format: 1
source: {framework: onnx, path: models/mlp.onnx}
inputs: {x: {dtype: float32, shape: [batch, 8]}}
outputs: [y]
dynamic_axes: {batch: {max: 64}}
opset: 20
passes:
  - custom: {function: passes/name.py:run, args: {prefix: renamed}}
  - onnxscript: optimize
evaluation: {data: data/test.npz, metric: {custom: metrics/share.py:share, higher_is_better: true}}
calibration: {data: {loader: data/load.py:load, args: {part: train}}, samples: 16}
quantization: {mode: static}
tolerance: {outputs: {y: {mean_abs: 0.9}}, metric: {at_least: 50% of source}}
session: {graph_optimization: basic, intra_op_threads: 1}
"""
LAST = ["mlp/package", "mlp/place@cpu", "mlp/quantize", "mlp/validate@cpu"]
"""What quantised weights lead to: the model, its proof and its delivery."""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built project with user code of every kind, under a name with spaces and letters beyond ASCII."""
    project = Project(tmp_path_factory.mktemp("built") / "mein Projekt, ünï ☃")
    write_mlp(project)
    project.write("recipes/data/load.py", LOADER)
    project.write("recipes/data/scaling.py", "SCALE = 1.0\n")
    project.write("recipes/data/seed.json", '{"seed": 1}\n')
    project.write("recipes/passes/name.py", PASS)
    project.write("recipes/metrics/share.py", METRIC)
    project.recipe("mlp", RECIPE)
    done = project.make()
    assert done.code == 0, done.out + done.err
    return project.root


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Project:
    """The built project, moved to another folder with all that is in it."""
    shutil.copytree(built, tmp_path / "moved here")
    return Project(tmp_path / "moved here")


def edit(project: Project, name: str, old: str, new: str) -> None:
    file = project.root / name
    text = file.read_text()
    assert text.count(old) == 1, (name, old)
    file.write_text(text.replace(old, new))


def assert_nothing_ran(done: Done) -> None:
    assert done.code == 0, done.err
    assert [e["event"] for e in done.events] == ["plan", "end"]


def test_moved_project_is_up_to_date(copy: Project) -> None:
    assert_nothing_ran(copy.make())


def test_moved_project_without_its_state_is_restored(copy: Project) -> None:
    """What is shared is the store: a colleague's copy of it serves, although nothing was ever built here."""
    shutil.rmtree(copy.root / ".onnxbuild/state")
    before = (copy.root / "build/mlp/default/model.onnx").read_bytes()
    shutil.rmtree(copy.root / "build")
    done = copy.make()
    assert done.code == 0
    assert done.ran == []
    assert done.event("end")["restored"] == done.event("plan")["actions"]
    assert (copy.root / "build/mlp/default/model.onnx").read_bytes() == before


def test_comment_and_order_of_keys_in_a_recipe_run_nothing(copy: Project) -> None:
    lines = RECIPE.splitlines(keepends=True)
    copy.recipe("mlp", "# who reads this?\n" + "".join([lines[0], *lines[10:], *lines[1:10]]).replace(", ", ",  "))
    assert_nothing_ran(copy.make())


def test_one_action_is_run_again_by_its_name_and_nothing_else(copy: Project) -> None:
    done = copy.make("--rerun", "mlp/quantize")
    assert done.code == 0, done.err
    assert done.ran == ["mlp/quantize"]
    assert done.event("action", action="mlp/quantize")["reasons"] == ["forced"]
    wrong = copy.make("--rerun", "mlp/quantise")
    assert wrong.code == 2
    assert "no selected target needs an action 'mlp/quantise'" in wrong.err
    assert "did you mean 'mlp/quantize'?" in wrong.err


def test_renamed_recipe_is_restored(copy: Project) -> None:
    (copy.root / "recipes/mlp.yaml").rename(copy.root / "recipes/other.yaml")
    done = copy.make()
    assert done.code == 0
    assert done.ran == []
    assert done.event("verdict")["output"] == "build/other/default/model.onnx"
    manifest = json.loads((copy.root / "build/other/default/manifest.json").read_text())
    assert manifest["recipe"] == "other"


def test_session_of_the_recipe_is_in_the_manifest(built: Path) -> None:
    manifest = json.loads((built / "build/mlp/default/manifest.json").read_text())
    assert manifest["session"] == {"graph_optimization": "basic", "intra_op_threads": 1}


def test_comment_in_a_custom_pass_stops_there(copy: Project) -> None:
    edit(copy, "recipes/passes/name.py", "def run", "# renames nodes\ndef run")
    done = copy.make()
    assert done.code == 0
    assert done.ran == ["mlp/optimize.1"]
    assert done.event("action", action="mlp/optimize.1")["reasons"] == ["input recipes/passes/name.py changed"]


def test_comment_in_a_metric_stops_there(copy: Project) -> None:
    edit(copy, "recipes/metrics/share.py", "    return", "    # of all\n    return")
    done = copy.make()
    assert done.code == 0
    assert {e["stage"] for e in done.events if e.get("decision") == "run"} == {"validate"}


def test_module_that_a_loader_imports_is_an_input(copy: Project) -> None:
    edit(copy, "recipes/data/scaling.py", "1.0", "2.0")
    done = copy.make()
    assert done.code == 0, done.err
    assert done.ran == ["mlp/data.2", *LAST]
    assert done.event("action", action="mlp/data.2")["reasons"] == ["input recipes/data/scaling.py changed"]


def test_comment_in_a_module_that_a_loader_imports_stops_there(copy: Project) -> None:
    edit(copy, "recipes/data/scaling.py", "1.0", "1.0  # as measured")
    done = copy.make()
    assert done.code == 0
    assert done.ran == ["mlp/data.2"]


def test_data_beside_a_loader_is_none_of_its_inputs(copy: Project) -> None:
    copy.write("recipes/data/notes.csv", "1,2\n")
    copy.write("recipes/passes/more/names.txt", "fc1\n")
    assert_nothing_ran(copy.make())


def test_file_that_a_loader_opens_is_an_input(copy: Project) -> None:
    edit(copy, "recipes/data/seed.json", "1", "2")
    done = copy.make()
    assert done.code == 0, done.err
    assert done.ran == ["mlp/data.2", *LAST]
    assert done.event("action", action="mlp/data.2")["reasons"] == ["input recipes/data/seed.json changed"]


@pytest.mark.parametrize("limit", ["0.95", "0.8", "null, sqnr_db: 1"])
def test_limits_run_nothing(copy: Project, limit: str) -> None:
    edit(copy, "recipes/mlp.yaml", "mean_abs: 0.9", f"mean_abs: {limit}")
    done = copy.make()
    assert done.code == 0, done.err
    assert done.ran == []
    gates = json.loads((copy.root / "build/mlp/default/manifest.json").read_text())["gates"]
    wanted = "at least 1 dB" if "sqnr" in limit else f"at most {limit}"
    assert [g["limit"] for g in gates if g["gate"] != "tolerance.metric"] == [wanted]


def test_limit_that_is_now_missed_fails_without_running(copy: Project) -> None:
    edit(copy, "recipes/mlp.yaml", "mean_abs: 0.9", "mean_abs: 1.0e-9")
    done = copy.make()
    assert done.code == 1
    assert done.ran == ["mlp/blame"]  # nothing is measured for the gate; that layers are ranked follows from it
    assert done.event("gate", gate="tolerance.y.mean_abs")["verdict"] == "failed"
    assert "1e-09" in done.out
    again = copy.make()
    assert (again.code, again.ran) == (1, [])
    assert "1e-09" in again.out


def test_labels_are_measured_again_and_nothing_else(copy: Project) -> None:
    file = copy.root / "recipes/data/test.npz"
    with np.load(file) as arrays:
        x, labels = arrays["x"], arrays["labels"]
    labels = labels.copy()
    labels[:4] = (labels[:4] + 1) % 4
    np.savez(file, x=x, labels=labels)
    done = copy.make()
    assert done.code == 0, done.err
    assert "mlp/data.1" in done.ran
    assert {e["stage"] for e in done.events if e.get("decision") == "run"} == {"data", "validate"}
    metric = json.loads((copy.root / "build/mlp/default/manifest.json").read_text())["metric"]
    assert metric["source"] == pytest.approx(92 / 96)


def test_session_is_measured_and_packaged_again(copy: Project) -> None:
    edit(copy, "recipes/mlp.yaml", "graph_optimization: basic", "graph_optimization: all")
    done = copy.make()
    assert {e["stage"] for e in done.events if e.get("decision") == "run"} == {"validate", "place", "package"}


NET = """\
import torch


def build():
    torch.manual_seed(0)
    return torch.nn.Linear(8, 4)
"""


@pytest.mark.torch
def test_comment_in_a_torch_model_s_source_stops_at_export_and_reference(project: Project) -> None:
    pytest.importorskip("torch")
    project.write("recipes/net.py", NET)
    project.recipe(
        "net", MLP.replace("framework: onnx, path: models/mlp.onnx", "framework: torch, factory: net.py:build")
    )
    write_mlp(project)
    first = project.make()
    assert first.code == 0, first.err
    edit(project, "recipes/net.py", "def build", "# one layer\n\n\ndef build")
    done = project.make()
    assert done.code == 0, done.err
    assert done.ran == ["net/export", "net/reference"]
