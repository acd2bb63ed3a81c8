"""Guarded passes through the command: warnings, the repro command, guard: strict, limits that change, locks."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest

from tests.project import Project
from tests.stages.traps import pad_pool

RECIPE = """\
format: 1
source: {framework: onnx, path: models/net.onnx}
inputs: {x: {dtype: float32, shape: [batch, 3, 8, 8]}}
outputs: [y]
dynamic_axes: {batch: {max: 4}}
opset: 20
passes: [{onnxoptimizer: [eliminate_identity, fuse_pad_into_pool]}]
evaluation: {data: data/test.npz}
session: {graph_optimization: disable}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose model onnxoptimizer breaks, built once."""
    made = Project(tmp_path_factory.mktemp("guard"))
    for folder in ("models", "data"):
        (made.root / "recipes" / folder).mkdir()
    onnx.save(pad_pool(), made.root / "recipes/models/net.onnx")
    x = np.random.default_rng(0).standard_normal((8, 3, 8, 8)).astype(np.float32)
    np.savez(made.root / "recipes/data/test.npz", x=x)
    made.recipe("net", RECIPE)
    done = made.make()
    assert done.code == 0, done.out + done.err
    warnings = done.event("action", action="net/optimize")["warnings"]
    assert [w["code"] for w in warnings] == ["pass-reverted"]
    assert "fuse_pad_into_pool of onnxoptimizer" in done.out
    return made


def test_the_rest_of_the_list_is_applied(project: Project) -> None:
    delivered = onnx.load(project.root / "build/net/default/model.onnx")
    assert [n.op_type for n in delivered.graph.node] == ["Conv", "Pad", "MaxPool", "GlobalAveragePool"]


def test_a_reverted_pass_is_up_to_date_next_time(project: Project) -> None:
    assert project.make().ran == []


def test_repro_lists_and_copies_what_shows_it(project: Project) -> None:
    listed = project.run("repro", "net")
    assert listed.code == 0
    assert "net/optimize  fuse_pad_into_pool of onnxoptimizer" in listed.out
    assert "[pass-changed-results]  a model of 2 nodes" in listed.out
    copied = project.run("repro", "net/optimize", "--out", "study")
    assert copied.code == 0
    script = project.root / "study/repro.py"
    assert f"python {script.relative_to(project.root)}" in copied.out
    shown = subprocess.run([sys.executable, "-I", script], capture_output=True, text=True, check=True, timeout=60)
    assert "difference: " in shown.stdout
    assert "difference: 0.0 " not in shown.stdout
    again = project.run("repro", "net", "--out", "study")
    assert again.code == 2
    assert "not an empty folder" in again.err


def test_repro_without_anything_to_show_says_so(project: Project) -> None:
    project.recipe("fine", RECIPE.replace(", fuse_pad_into_pool", ""))
    assert project.make("fine").code == 0
    done = project.run("repro", "fine")
    assert (done.code, done.out) == (0, "No pass was left out: every one kept what the model computes\n")


def test_the_report_tells_what_was_left_out(project: Project) -> None:
    page = (project.root / "reports/net.html").read_text()
    assert "fuse_pad_into_pool" in page
    twin = json.loads((project.root / "reports/net.json").read_text())
    steps = [step for step in twin["targets"][0]["steps"] if step["label"] == "optimize"]
    assert [r["name"] for r in steps[0]["optimize"]["reverted"]] == ["fuse_pad_into_pool"]


def test_the_lock_holds_what_was_left_out(project: Project) -> None:
    assert project.run("accept", "net").code == 0
    lock = project.root / "recipes/net.lock.json"
    assert "fuse_pad_into_pool of onnxoptimizer" in lock.read_text()
    assert project.make("net", "--locked").code == 0
    lock.write_text(lock.read_text().replace("fuse_pad_into_pool of ", "eliminate_identity of "))
    done = project.make("net", "--locked")
    assert done.code == 1
    assert "left out of `passes`" in done.out + done.err
    lock.unlink()


def test_guard_strict_fails_with_what_shows_it_and_revert_restores(project: Project) -> None:
    project.recipe("net", RECIPE + "guard: strict\n")
    done = project.make("net")
    assert done.code == 1
    failure = done.event("action", action="net/optimize")["failure"]
    assert failure["code"] == "pass-broke-model"
    assert "fuse_pad_into_pool" in failure["message"]
    assert "hint leave this pass out, or let `guard: revert` do so; onnxbuild repro net/optimize --out DIR" in done.err
    copied = project.run("repro", "net/optimize", "--out", "strict")
    assert copied.code == 0
    assert "fuse_pad_into_pool" in copied.out
    assert (project.root / "strict/model.onnx").is_file()
    project.recipe("net", RECIPE)
    assert project.make("net").ran == []


def test_wider_limits_let_a_pass_in_again(project: Project) -> None:
    project.recipe("net", RECIPE + "tolerance: {outputs: {y: {atol: 100}}}\n")
    done = project.make("net")
    assert done.event("action", action="net/optimize")["warnings"] == []
    assert len(onnx.load(project.root / "build/net/default/model.onnx").graph.node) == 3
    project.recipe("net", RECIPE)
    again = project.make("net").event("action", action="net/optimize")
    assert "limits of today" in again["reasons"][0]
    assert [w["code"] for w in again["warnings"]] == ["pass-reverted"]


def test_a_model_that_the_runtime_s_own_optimiser_breaks_at_load_fails_with_the_way_round_it(project: Project) -> None:
    """The same fault in ONNX Runtime's Pad_Fusion: it is met wherever the model is opened with the defaults."""
    bare = RECIPE.replace("passes: [{onnxoptimizer: [eliminate_identity, fuse_pad_into_pool]}]", "passes: []")
    limited = bare + "tolerance: {outputs: {y: {atol: 1.0e-4}}}\n"
    project.recipe("net", limited.replace("session: {graph_optimization: disable}\n", ""))
    done = project.make("net")
    assert done.code == 1
    reason = done.event("gate", gate="tolerance.y.atol")["reason"]
    assert "first missed after canonicalize: either canonicalize or ONNX Runtime's own optimiser" in reason
    assert "`session: {graph_optimization: disable}`" in reason
    project.recipe("net", limited)
    assert project.make("net").code == 0
    project.recipe("net", RECIPE)


def test_a_user_s_pass_is_seen_to_import_and_read_though_it_runs_apart(project: Project) -> None:
    project.write("recipes/passes/mine.py", "import aid\ndef run(model):\n    return aid.same(model)\n")
    project.write("recipes/passes/aid.py", "import xmlrpc.client\n"
                  "from pathlib import Path\nTEXT = Path('note.txt').read_text()\n"
                  "def same(model):\n    model.graph.doc_string = TEXT\n    return model\n")  # fmt: skip
    project.write("recipes/note.txt", "one")
    entry = "passes: [{custom: {function: passes/mine.py:run}}]"
    project.recipe("own", RECIPE.replace("passes: [{onnxoptimizer: [eliminate_identity, fuse_pad_into_pool]}]", entry))
    assert project.make("own").code == 0
    assert project.make("own").ran == []
    traces = [f.read_text() for f in (project.root / ".onnxbuild/traces").rglob("*.json")]
    (own,) = [text for text in traces if "recipes/note.txt" in text]
    assert "recipes/passes/aid.py" in own
    assert "recipes/passes/xmlrpc.py" in own  # had it been there, it would have been imported
    assert "recipes/passes/http.py" not in own  # a library asked for it, and found it elsewhere
    project.write("recipes/note.txt", "two")
    assert "own/optimize" in project.make("own").ran
    project.write("recipes/passes/aid.py", "def same(model):\n    return model\n")
    assert "own/optimize" in project.make("own").ran
