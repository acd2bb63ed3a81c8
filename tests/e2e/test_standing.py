"""`status`, `explain`, `make -n`, `gc` and `store` on a real project: one decision everywhere, and light commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

from tests.e2e.running import wait_until_settled
from tests.project import ENVIRONMENT, MLP, Done, Project, write_mlp

ROOT = Path(__file__).parents[2]
VARIANTS = """
variants:
  fp32: {}
  int8: {quantization: {mode: dynamic}, tolerance: {metric: {at_least: 90% of source}}}
"""
HEAVY = {"numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "torch", "tensorflow", "sklearn", "jsonschema"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of two variants that was made."""
    project = Project(tmp_path_factory.mktemp("template"))
    write_mlp(project)
    project.recipe("mlp", MLP + VARIANTS)
    assert project.make().code == 0
    return project


@pytest.fixture
def made(template: Project, tmp_path: Path) -> Project:
    """A copy of it."""
    shutil.copytree(template.root, tmp_path / "project")
    return Project(tmp_path / "project")


def told(done: Done) -> Any:
    """Return the JSON that a command printed."""
    assert done.code == 0, done.err
    return json.loads(done.out)


def change_two_things(project: Project) -> None:
    """Change one of four weights, and a parameter of the quantisation."""
    path = project.root / "recipes/models/mlp.onnx"
    model = onnx.load(path)
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "w2")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.01, "w2"))
    onnx.save(model, path)
    project.recipe("mlp", MLP + VARIANTS.replace("mode: dynamic", "mode: dynamic, per_channel: true"))


def test_status_of_what_is_made_and_of_what_is_not(made: Project) -> None:
    found = told(made.run("status", "--format", "json"))
    assert {target["target"]: target["verdict"] for target in found["targets"]} == {
        "mlp:fp32": "passed",
        "mlp:int8": "passed",
    }
    assert {action["decision"] for action in found["actions"]} == {"up-to-date"}
    assert made.run("status").out.splitlines()[0].split() == ["mlp:fp32", "up", "to", "date,", "passed"]


def test_status_explain_and_dry_run_say_the_same(made: Project) -> None:
    change_two_things(made)
    dry = made.make("-n")
    events = {e["action"]: e for e in dry.events if e["event"] == "action"}
    found = {action["action"]: action for action in told(made.run("status", "--format", "json"))["actions"]}
    assert events.keys() == found.keys()
    for name, event in events.items():
        for field in ("decision", "reasons", "on", "estimate"):
            assert found[name][field] == event[field], (name, field)
    explained = told(made.run("explain", "mlp", "--format", "json"))
    assert {e["standing"]["action"]: e["standing"] for e in explained} == found
    assert events["mlp/canonicalize"]["decision"] == "run"
    assert events["mlp/quantize"]["decision"] == "waits"
    assert events["mlp/quantize"]["on"] == ["mlp/canonicalize"]
    assert events["mlp/canonicalize"]["estimate"] > 0
    assert events["mlp/data"]["estimate"] is None
    assert "2 would run, 7 wait, 1 up to date" in dry.out
    told_of = [line.split()[:2] for line in made.run("status").out.split("\n\n")[1].splitlines()]
    assert sorted(told_of) == [["run", "mlp/canonicalize"], ["run", "mlp/reference"]], "what waits is only counted"
    assert "waits      mlp/quantize" in made.run("status", "-v").out
    for explanation in explained:
        assert tuple(c["change"]["text"] for c in explanation["changes"]) == tuple(explanation["standing"]["reasons"])


def test_explain_tells_both_of_two_changes_with_values_and_what_differs_in_the_model(made: Project) -> None:
    before = told(made.run("explain", "mlp/quantize", "--format", "json"))[0]
    assert before["last"]["reasons"] == ["never built"]
    change_two_things(made)
    canonicalize = told(made.run("explain", "mlp/canonicalize", "--format", "json"))[0]
    (change,) = (difference["change"] for difference in canonicalize["changes"])
    assert change["component"] == "file path"
    assert change["name"] == "recipes/models/mlp.onnx"
    assert len({change["old"], change["new"]}) == 2
    assert made.make().code == 0
    (quantize,) = told(made.run("explain", "mlp/quantize", "--format", "json"))
    assert quantize["standing"]["decision"] == "up-to-date"
    parameter, model = quantize["last"]["changes"]
    assert parameter["change"]["component"] == "parameter quantization.per_channel"
    assert (parameter["change"]["old"], parameter["change"]["new"]) == ("false", "true")
    assert model["change"]["component"] == "input model"
    assert model["model"]["initializers"] == 4
    assert model["model"]["changed_initializers"] == 1
    assert model["model"]["changed_nodes"] == 0
    assert "1 of 4 initializers differ" in made.run("explain", "mlp/quantize").out


def test_explain_knows_targets_and_actions_only(made: Project) -> None:
    done = made.run("explain", "mlp:int9")
    assert done.code == 2
    assert "did you mean 'mlp:int8'" in done.err


@pytest.mark.parametrize(
    "call", [["--help"], ["status"], ["explain", "mlp/quantize"], ["gc", "-n"], ["store", "stats"], ["make", "-n"]]
)
def test_light_commands_import_no_model_library(made: Project, call: list[str]) -> None:
    wait_until_settled(made)
    assert made.run("status").code == 0
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(ROOT / "onnxbuild/bin/onnxbuild"), *call],
        cwd=made.root,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "onnxbuild.cli" in modules
    assert not HEAVY & modules


def test_gc_keeps_what_recipes_stand_on_and_takes_the_rest(made: Project) -> None:
    change_two_things(made)
    assert made.make().code == 0
    made.recipe("mlp", MLP)
    assert made.make().code == 0
    assert "not used" not in made.run("gc", "-n").out
    for trace in (made.root / ".onnxbuild/traces").glob("*/*/*.json"):
        os.utime(trace, (time.time() - 1e7,) * 2)
    listed = made.run("gc", "-n", "--grace", "0 s").out
    assert "mlp/quantize" in listed
    assert "not used for 116 days" in listed
    before = json.loads(made.run("store", "stats", "--format", "json").out)
    assert made.run("gc", "--grace", "0 s").code == 0
    after = json.loads(made.run("store", "stats", "--format", "json").out)
    assert after["records"] == 6
    assert after["bytes"] < before["bytes"]
    assert after["needed_by_none"] == 0
    for stamp in (made.root / ".onnxbuild/state/stamps").iterdir():
        stamp.unlink()
    assert made.make().actions() == []
    assert made.run("store", "verify").code == 0


def test_gc_with_a_broken_recipe_takes_nothing_it_stood_on(made: Project) -> None:
    made.recipe("mlp", "format: 1\n")
    done = made.run("gc", "--grace", "0 s", "--max-size", "1 B", "--max-age", "0")
    assert done.code == 0, done.err
    assert json.loads(made.run("store", "stats", "--format", "json").out)["records"] == 10
    assert made.run("gc", "--max-size", "much").code == 2


def test_gc_while_a_build_runs_takes_nothing_from_it(made: Project) -> None:
    """Collect over and over, with a policy that lets everything go, while recipes that share its store are built."""
    made.recipe("mlp", MLP + VARIANTS.replace("mode: dynamic", "mode: dynamic, per_channel: true"))
    other = Project(made.root.parent / "other")
    write_mlp(other, seed=1)
    other.recipe("other", MLP + VARIANTS)
    other.write("onnxbuild.yaml", f"store: {made.root}/.onnxbuild\n")
    command = [sys.executable, "-m", "onnxbuild", "-C", str(made.root), "gc", "--grace", "0 s", "--max-age", "0"]
    env = {**ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    build = subprocess.Popen(
        [sys.executable, "-m", "onnxbuild", "-C", str(other.root), "make", "-j1", "--events", "events.jsonl"], env=env
    )
    rounds = 0
    while build.poll() is None:
        subprocess.run(command, env=env, check=True, capture_output=True)
        rounds += 1
    assert build.returncode == 0
    assert rounds > 1
    events = [json.loads(line) for line in (other.root / "events.jsonl").read_text().splitlines()]
    ran = [event["action"] for event in events if event["event"] == "action" and event["decision"] == "run"]
    assert len(ran) == len(set(ran)), "nothing was built twice"
    assert not [event for event in events if event["event"] == "notice"]


def test_store_verify_sets_altered_blobs_aside_and_make_mends(made: Project) -> None:
    blob = max((made.root / ".onnxbuild/blobs").glob("*/*"), key=lambda path: path.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(data)
    done = made.run("store", "verify")
    assert done.code == 1
    assert blob.name in done.out
    assert made.make("--force").code == 0
    assert made.run("store", "verify").code == 0
