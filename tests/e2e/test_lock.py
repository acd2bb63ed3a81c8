"""The lock: accepted once, evidence of the next make, compared by --locked, strict where it is broken."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.project import MLP, Project, accept_mlp, write_mlp
from tests.report.page_text import visible_text

RECIPE = MLP + "variants:\n  fp32: {}\n  int8: {quantization: {mode: dynamic}, tolerance: {metric: {at_least: 90%}}}\n"
LOCK = "recipes/mlp.lock.json"


def read(project: Project) -> dict[str, Any]:
    return dict(json.loads((project.root / LOCK).read_text()))


@pytest.fixture(scope="module")
def accepted_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = Project(tmp_path_factory.mktemp("accepted") / "project")
    accept_mlp(project, RECIPE)
    return project.root


@pytest.fixture
def accepted(accepted_template: Path, tmp_path: Path) -> Project:
    """A copy of a project whose two targets were built and accepted."""
    import shutil

    shutil.copytree(accepted_template, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def test_the_lock_is_sorted_small_and_says_what_was_delivered(accepted: Project) -> None:
    text = (accepted.root / LOCK).read_text()
    lock = json.loads(text)
    assert text == json.dumps(lock, indent=1, sort_keys=True) + "\n"
    assert lock["format"] == 1
    assert set(lock["targets"]) == {"fp32", "int8"}
    entry = lock["targets"]["int8"]
    manifest = json.loads((accepted.root / "build/mlp/int8/manifest.json").read_text())
    assert entry["output"] == {name: file["sha256"] for name, file in manifest["files"].items()}
    assert set(entry["sources"]) == {"recipes/data/test.npz", "recipes/models/mlp.onnx"}
    assert entry["opset"][""] == 20
    assert entry["metrics"]["cpu"]["name"] == "accuracy"
    low, high = entry["metrics"]["cpu"]["interval"]
    assert low <= entry["metrics"]["cpu"]["model"] <= high
    assert "choice" not in entry
    assert "waivers" not in entry


def test_a_make_after_accept_runs_nothing_and_then_answers_from_its_stamp(accepted: Project) -> None:
    done = accepted.make()
    assert done.code == 0
    assert done.actions() == []
    assert accepted.make("--locked").code == 0


def test_a_changed_lock_is_seen_by_the_next_make(accepted: Project) -> None:
    accepted.make()
    (accepted.root / LOCK).write_text("{")
    done = accepted.make()
    assert done.code == 2
    assert f"{LOCK}:1:2" in done.err


def test_a_lock_that_appears_is_seen_by_the_next_make(mlp: Project) -> None:
    assert mlp.make().code == 0
    mlp.write(LOCK, "<<<<<<< HEAD\n")
    done = mlp.make()
    assert done.code == 2
    assert "unresolved merge conflict" in done.err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"format": 1', '"format": 7', "the lock has format 7, this version of onnxbuild knows 1"),
        ('"ir_version": 10', '"ir_version": "10"', "Expected `int`, got `str`"),
        ('"ir_version"', '"ir_versions"', "unknown field `ir_versions`"),
        ('"hardware"', '"verdict"', "the key 'verdict' stands twice"),
    ],
)
def test_a_broken_lock_is_a_located_diagnostic_of_check(accepted: Project, old: str, new: str, said: str) -> None:
    text = (accepted.root / LOCK).read_text()
    altered = text.replace(old, new, 1)
    (accepted.root / LOCK).write_text(altered)
    done = accepted.run("check")
    key = new.partition(":")[0]
    line = altered[: altered.index(key)].count("\n") + 1
    assert done.code == 2
    assert said in done.out + done.err
    assert f"{LOCK}:{line}:" in done.out + done.err


def test_an_entry_of_no_variant_is_a_warning_and_goes_with_the_next_accept(accepted: Project) -> None:
    accepted.recipe("mlp", RECIPE.replace("  fp32: {}\n", ""))
    checked = accepted.run("check")
    assert checked.code == 0
    assert "no such variant" in checked.out + checked.err
    assert accepted.make().code == 0
    assert accepted.run("accept", "mlp:int8").code == 0
    assert set(read(accepted)["targets"]) == {"int8"}


def test_accepting_one_target_leaves_the_others(accepted: Project) -> None:
    before = read(accepted)
    write_mlp(accepted, seed=1)
    assert accepted.make().code == 0
    assert accepted.run("accept", "mlp:fp32").code == 0
    after = read(accepted)
    assert after["targets"]["int8"] == before["targets"]["int8"]
    assert after["targets"]["fp32"] != before["targets"]["fp32"]


def test_locked_names_what_differs_and_fails(accepted: Project) -> None:
    data = accepted.root / "recipes/data/test.npz"
    arrays = dict(np.load(data))
    np.savez(data, x=arrays["x"][:-1], labels=arrays["labels"][:-1])
    accepted.recipe("mlp", RECIPE.replace("opset: 20", "opset: 19"))
    done = accepted.make("--locked", "mlp:fp32")
    assert done.code == 1
    (event,) = [e for e in done.events if e["event"] == "lock"]
    assert event["target"] == "mlp:fp32"
    assert not event["agrees"]
    assert any(d.startswith("recipes/data/test.npz has the digest") for d in event["differences"])
    assert 'opset is {"":19}, accepted is {"":20}' in event["differences"]
    assert "differs   mlp:fp32: recipes/data/test.npz" in done.out
    assert accepted.make("mlp:fp32").code == 0, "without --locked it is a make like any other"


def test_locked_fails_without_an_entry_also_when_nothing_is_to_do(mlp: Project) -> None:
    assert mlp.make().code == 0
    done = mlp.make("--locked")
    assert done.code == 1
    assert "recipes/mlp.lock.json has no entry for it" in done.out
    assert "hint if it is meant: `onnxbuild accept mlp:default`" in done.out
    assert mlp.make().code == 0


def test_a_target_that_is_not_built_is_not_accepted(accepted: Project) -> None:
    write_mlp(accepted, seed=1)
    done = accepted.run("accept", "mlp")
    assert done.code == 2
    assert "onnxbuild make mlp:fp32" in done.err


def test_a_failed_gate_needs_a_waiver_which_the_lock_keeps(accepted: Project) -> None:
    before = (accepted.root / LOCK).read_text()
    accepted.recipe("mlp", RECIPE + "gates: {size: {at_most: 1 kB}}\n")
    assert accepted.make().code == 1
    refused = accepted.run("accept", "mlp:int8")
    assert refused.code == 2
    assert "--waive size --reason" in refused.err
    assert accepted.run("accept", "mlp:int8", "--waive", "size").code == 2
    assert accepted.run("accept", "mlp:int8", "--waive", "tolerance.metric", "--reason", "x").code == 2
    assert (accepted.root / LOCK).read_text() == before, "nothing was written"
    assert accepted.run("accept", "mlp:int8", "--waive", "size", "--reason", "the kiosk has room").code == 0
    assert read(accepted)["targets"]["int8"]["waivers"] == {"size": "the kiosk has room"}
    assert read(accepted)["targets"]["int8"]["verdict"] == "failed"
    assert accepted.make().code == 1, "what was waived for the lock still fails the make"


def test_placement_is_compared_on_the_providers_that_are_here(accepted: Project) -> None:
    file = accepted.root / LOCK
    lock = read(accepted)
    placed = lock["targets"]["fp32"]["placement"]["cpu"]
    assert placed["nodes"] == placed["of"] > 0
    lock["targets"]["fp32"]["placement"] = {"cuda": {"nodes": 1, "of": 2}}
    file.write_text(json.dumps(lock, indent=1, sort_keys=True) + "\n")
    assert accepted.make("--locked").code == 0
    lock["targets"]["fp32"]["placement"] = {"cpu": {"nodes": placed["nodes"] - 1, "of": placed["of"]}}
    file.write_text(json.dumps(lock, indent=1, sort_keys=True) + "\n")
    done = accepted.make("--locked")
    assert done.code == 1
    assert "placement on cpu" in done.out + done.err


def edit(project: Project, **values: Any) -> None:
    """Change values of fp32's entry in the lock."""
    lock = read(project)
    lock["targets"]["fp32"] |= values
    (project.root / LOCK).write_text(json.dumps(lock, indent=1, sort_keys=True) + "\n")


def locked(project: Project) -> tuple[int, dict[str, Any]]:
    done = project.make("--locked", "mlp:fp32")
    (event,) = [e for e in done.events if e["event"] == "lock"]
    return done.code, event


def test_the_entry_says_what_a_reviewer_asks(accepted: Project) -> None:
    entry = read(accepted)["targets"]["int8"]
    assert entry["bytes"] == (accepted.root / "build/mlp/int8/model.onnx").stat().st_size
    assert entry["interface"]["input x"].startswith("float32 [")
    assert entry["nodes"] == sum(entry["operators"].values())
    assert entry["measured"]["tolerance.metric@cpu"] == entry["metrics"]["cpu"]["model"]
    assert len(entry["structure"]) == len(entry["recipe"]) == 64


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"structure": "0" * 64}, "the graph is another than accepted"),
        ({"structure": "0" * 64, "operators": {"Gemm": 9}}, "Gemm 9 →"),
        ({"output": {"model.onnx": "0" * 64}}, "model.onnx is"),
        ({"reverted": ["fuse of onnxslim"]}, "left out of `passes`"),
        ({"metrics": {"cpu": {"name": "accuracy", "model": 0.1, "interval": [0.05, 0.2]}}}, "(0.05 to 0.2)"),
        ({"metrics": {"cpu": {"name": "accuracy", "model": 0.1}}}, "accuracy on cpu is"),
        ({"metrics": {"cpu": {"name": "f1", "model": 0.1}}}, "the metric on cpu is accuracy"),
    ],
)
def test_locked_fails_on_each_part_that_must_agree(accepted: Project, values: dict[str, Any], said: str) -> None:
    edit(accepted, **values)
    code, event = locked(accepted)
    assert code == 1
    (difference,) = event["differences"]
    assert said in difference


@pytest.mark.parametrize(
    "values",
    [
        {"versions": {"onnx": "0.1"}},
        {"metrics": {"cpu": {"name": "accuracy", "model": 0.1, "interval": [0.05, 1.0]}}},
        {"metrics": {"cuda": {"name": "accuracy", "model": 0.1}}, "placement": {"cuda": {"absent": "none"}}},
    ],
)
def test_locked_leaves_versions_noise_and_absent_providers_alone(accepted: Project, values: dict[str, Any]) -> None:
    if "placement" in values:
        accepted.recipe("mlp", RECIPE + "providers: {cpu: {}, cuda: {}}\n")
    edit(accepted, **values)
    assert accepted.make("--locked", "mlp:fp32").code == 0


def test_made_elsewhere_the_weights_are_held_against_the_accepted_model_in_the_store(accepted: Project) -> None:
    model = accepted.root / "build/mlp/fp32/model.onnx"
    other = "Another CPU; avx"
    near, far = moved(accepted, model, 1 + 1e-6), moved(accepted, model, 1.001)
    edit(accepted, hardware=other, output={"model.onnx": near})
    code, event = locked(accepted)
    assert (code, event["agrees"]) == (0, True)
    assert event["unverified"] == []
    assert "each within 1e-05 of its norm" in event["notes"][0]
    assert other in event["notes"][0]
    edit(accepted, output={"model.onnx": far})
    code, event = locked(accepted)
    assert code == 1
    assert "changed by 0.001 of its norm" in event["differences"][0]


def test_made_elsewhere_without_the_accepted_model_it_says_so_and_strict_fails(accepted: Project) -> None:
    edit(accepted, hardware="Another CPU; avx", output={"model.onnx": "0" * 64})
    code, event = locked(accepted)
    assert (code, event["agrees"]) == (0, True)
    assert "the accepted model is not in the store" in event["unverified"][0]
    assert accepted.make("--locked", "--strict", "mlp:fp32").code == 1
    edit(accepted, output={"../../../x": "0" * 64})
    assert "no file of a model" in locked(accepted)[1]["unverified"][0]


def moved(project: Project, model: Path, factor: float) -> str:
    """Put the model with other weights into the store and return its digest."""
    import onnx
    import onnx.numpy_helper

    from onnxbuild.store.store import Store

    loaded = onnx.load(model)
    for tensor in loaded.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array((array * np.float32(factor)).astype(np.float32), tensor.name))
    file = project.root / "moved.onnx"
    onnx.save(loaded, file)
    digest = Store(project.root / ".onnxbuild").blobs.add_file(file).digest
    file.unlink()
    return digest


def git(project: Project, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", *who, *arguments], cwd=project.root, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def history(accepted: Project) -> Project:
    """A repository below which a project was accepted and committed, and then built, accepted and changed again."""
    git(accepted, "init", "-q", "-b", "main")
    git(accepted, "add", "recipes")
    git(accepted, "commit", "-qm", "one")
    accepted.recipe("mlp", RECIPE.replace("opset: 20", "opset: 19"))
    assert accepted.make("mlp:fp32").code == 0
    assert accepted.run("accept", "mlp:fp32").code == 0
    return accepted


def test_diff_of_revisions_says_what_was_accepted_since(history: Project) -> None:
    head = git(history, "rev-parse", "HEAD")
    text = history.run("diff", "main..").out
    assert LOCK in text
    assert "-opset: 20" in text
    assert "+opset: 19" in text
    assert "~ fp32: another graph; other lines in the recipe" in text
    assert "opset ai.onnx: 20 → 19  −1" in text
    assert "int8" not in text
    git(history, "add", "-A", "recipes")
    git(history, "commit", "-qm", "two")
    assert history.run("diff", "main..").out == "The locks do not differ.\n"
    assert history.run("diff", f"{head.strip()}..main").out == text
    assert history.run("diff", f"{head.strip()}...main").out == text
    (history.root / LOCK).unlink()
    assert "- fp32: no longer accepted" in history.run("diff", "HEAD..").out
    git(history, "commit", "-qam", "three")
    assert "+ fp32: accepted for the first time" in history.run("diff", "HEAD..HEAD~1").out


def test_diff_of_locks_as_json_and_as_a_page(history: Project) -> None:
    before = git(history, "show", f"main:{LOCK}")
    history.write("old.lock.json", before)
    call = ["diff", "old.lock.json", LOCK]
    found = json.loads(history.run(*call, "--format", "json").out)
    assert [(t["variant"], t["kind"]) for t in found["recipes"][0]["targets"]] == [
        ("fp32", "changed"),
        ("int8", "same"),
    ]
    page = history.run(*call, "--format", "html").out
    assert "1 target changed." in visible_text(page)
    assert "opset ai.onnx Graph | 20 | 19 | −1" in visible_text(page)
    assert "Content-Security-Policy" in page
    revisions = visible_text(history.run("diff", "main..", "--format", "html").out)
    assert "+opset: 19" in revisions


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.."], "git knows no revision 'nowhere'"),
        (["main..nowhere"], "git knows no revision 'nowhere'"),
        (["--", "-x.."], "git knows no revision '-x'"),
    ],
)
def test_what_git_does_not_know_is_a_wrong_call(history: Project, words: list[str], said: str) -> None:
    done = history.run("diff", *words)
    assert done.code == 2
    assert said in done.err


def test_diff_of_a_broken_lock_at_a_revision_names_it(history: Project) -> None:
    history.write(LOCK, "{")
    git(history, "commit", "-qam", "broken")
    done = history.run("diff", "main~1..main")
    assert done.code == 2
    assert f"{LOCK} at " in done.err


def test_diff_of_revisions_runs_nothing_of_the_repository(history: Project) -> None:
    trap = history.root / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {history.root}/sprung\ncat\n")
    trap.chmod(0o755)
    history.write(".gitattributes", "*.json diff=trap filter=trap\n*.yaml diff=trap filter=trap\n")
    git(history, "config", "diff.trap.textconv", str(trap))
    git(history, "config", "filter.trap.smudge", str(trap))
    assert history.run("diff", "main..").code == 0
    assert not (history.root / "sprung").exists()


def test_what_a_benchmark_measured_is_in_the_lock_and_never_compared(accepted: Project) -> None:
    timed = RECIPE + "benchmark: {batch: [1], min_seconds: 0.01}\n"
    accepted.recipe("mlp", timed)
    assert accepted.make("mlp:fp32").code == 0
    assert accepted.run("accept", "mlp:fp32").code == 0
    entry = read(accepted)["targets"]["fp32"]
    latency = entry["latencies"]["p50, batch 1@cpu"]
    assert latency["low"] <= latency["value"] <= latency["high"]
    assert entry["memory"]["cpu"]["value"] >= 0
    edit(accepted, latencies={"p50, batch 1@cpu": {"value": 900.0, "low": 890.0, "high": 910.0}})
    assert accepted.make("--locked", "mlp:fp32").code == 0
    assert "latency −100%, beyond noise" in visible_text((accepted.root / "reports/mlp.html").read_text())
