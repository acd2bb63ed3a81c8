"""What changes nothing that counts runs nothing, or stops early; asserted from the events.

Others of the kind are in tests/e2e/test_reuse.py (moved, shared, re-ordered, limits, comments in passes, metrics,
loaders) and test_make.py (altered outputs and blobs, variants with a common prefix).
"""

from __future__ import annotations

import os
import shutil
from operator import itemgetter
from pathlib import Path

import pytest

from tests.incremental.projects import (
    STEPS,
    assert_nothing_to_do,
    assert_restored,
    edit,
    models,
    ran,
    rewrite_arrays,
)
from tests.project import MLP, Project, write_mlp


def test_touch_runs_nothing(steps: Project) -> None:
    for file in (steps.root / "recipes").rglob("*"):
        os.utime(file)
    assert_nothing_to_do(steps.make())


def test_renamed_project_folder_runs_nothing(steps: Project, tmp_path: Path) -> None:
    steps.root.rename(tmp_path / "öther näme")
    assert_nothing_to_do(Project(tmp_path / "öther näme").make())


def test_copied_project_runs_nothing_and_leaves_the_first_alone(steps: Project, tmp_path: Path) -> None:
    shutil.copytree(steps.root, tmp_path / "copy")
    assert_nothing_to_do(Project(tmp_path / "copy").make())
    edit(Project(tmp_path / "copy"), "recipes/mlp.yaml", "team: kiosk", "team: shop")
    assert ran(Project(tmp_path / "copy").make()) == {"package"}
    assert_nothing_to_do(steps.make())


def test_renamed_recipe_is_restored_under_its_new_name_and_is_in_no_model(steps: Project) -> None:
    before = (steps.root / "build/mlp/default/model.onnx").read_bytes()
    (steps.root / "recipes/mlp.yaml").rename(steps.root / "recipes/quaxolotl.yaml")
    assert_restored(steps.make())
    assert (steps.root / "build/quaxolotl/default/model.onnx").read_bytes() == before
    steps.recipe("quaxolotl", STEPS.replace("opset: 20", "opset: 19"))
    assert "canonicalize" in ran(steps.make())
    assert len(list(models(steps))) > 4
    assert not [model for model in models(steps) if b"quaxolotl" in model.read_bytes()]


def test_renamed_variant_is_restored(mlp: Project) -> None:
    mlp.recipe("mlp", MLP + "variants: {first: {}}\n")
    assert ran(mlp.make())
    mlp.recipe("mlp", MLP + "variants: {second: {}}\n")
    assert_restored(mlp.make())
    assert (mlp.root / "build/mlp/second/model.onnx").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("sparsity: 0.1}", "sparsity: 0.1}  # a tenth", id="comment"),
        pytest.param("method: magnitude, sparsity: 0.1", "sparsity: 0.1, method: magnitude", id="order of keys"),
        pytest.param("a small classifier", "a smaller classifier", id="description"),
        pytest.param("format: 1\n", "format: 1\nx-owner: {team: kiosk}\n", id="x-key"),
        pytest.param("mean_abs: 90", "mean_abs: 80", id="tolerance"),
        pytest.param("at_least: 10%", "at_least: 11%", id="metric tolerance"),
        pytest.param("at_most: 9 MB", "at_most: 8 MB", id="size gate"),
        pytest.param("mode: static", "mode: static, block_size: 64", id="key that the mode does not use"),
    ],
)
def test_what_is_in_no_key_runs_nothing(steps: Project, old: str, new: str) -> None:
    edit(steps, "recipes/mlp.yaml", old, new)
    assert ran(steps.make()) == set()


def test_limits_of_the_project_run_nothing(steps: Project) -> None:
    steps.write("onnxbuild.yaml", "jobs: 1\nlimits: {memory: 7 GB, time: 20 min}\n")
    assert ran(steps.make()) == set()


def test_calibration_file_rewritten_with_the_same_arrays_stops_at_the_data(steps: Project) -> None:
    rewrite_arrays(steps.root / "recipes/data/train.npz")
    assert ran(steps.make()) == {"data.2"}


@pytest.mark.torch
def test_comment_in_the_model_s_source_stops_at_export(net: Project) -> None:
    edit(net, "recipes/blocks.py", "        return", "        # keep what is positive\n        return")
    assert ran(net.make()) == {"export", "reference"}


def test_same_size_edit_with_restored_mtime_is_seen(steps: Project) -> None:
    file = steps.root / "recipes/passes/naming.py"
    before = file.stat()
    edit(steps, "recipes/passes/naming.py", "{one}/{two}", "{two}/{one}")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert ran(steps.make("-n")) == {"optimize.5"}


def test_edit_and_revert_runs_nothing(steps: Project) -> None:
    before = (steps.root / "build/mlp/default/model.onnx").read_bytes()
    edit(steps, "recipes/mlp.yaml", "sparsity: 0.1", "sparsity: 0.6")
    edit(steps, "recipes/passes/naming.py", "{one}/{two}", "{two}/{one}")
    assert "prune" in ran(steps.make())
    assert (steps.root / "build/mlp/default/model.onnx").read_bytes() != before
    edit(steps, "recipes/mlp.yaml", "sparsity: 0.6", "sparsity: 0.1")
    edit(steps, "recipes/passes/naming.py", "{two}/{one}", "{one}/{two}")
    assert_restored(steps.make())
    assert (steps.root / "build/mlp/default/model.onnx").read_bytes() == before


def test_recipes_with_a_common_prefix_run_it_once(mlp: Project) -> None:
    mlp.recipe("mlp", MLP + "passes: [onnxslim: default]\n")
    mlp.recipe("other", MLP + "passes: [onnxslim: default]\nquantization: {mode: dynamic}\n"
               "tolerance: {outputs: {y: {max_abs: 99}}}\n")  # fmt: skip
    done = mlp.make()
    assert done.code == 0, done.err
    stages = [e["stage"] for e in done.events if e["event"] == "action" and e["decision"] == "run"]
    assert {s: stages.count(s) for s in ("canonicalize", "data", "reference", "optimize", "quantize")} == {
        "canonicalize": 1, "data": 1, "reference": 1, "optimize": 1, "quantize": 1
    }  # fmt: skip
    shared = done.event("action", action="mlp/canonicalize")
    assert shared["targets"] == ["mlp:default", "other:default"]


def test_deleted_output_is_restored(mlp: Project) -> None:
    assert ran(mlp.make())
    before = (mlp.root / "build/mlp/default/model.onnx").read_bytes()
    shutil.rmtree(mlp.root / "build")
    assert_restored(mlp.make())
    assert (mlp.root / "build/mlp/default/model.onnx").read_bytes() == before


def test_deleted_blob_is_rebuilt_and_reported(mlp: Project) -> None:
    assert ran(mlp.make())
    clean = (mlp.root / "build/mlp/default/model.onnx").read_bytes()
    shutil.rmtree(mlp.root / ".onnxbuild/blobs")
    mlp.recipe("mlp", MLP + "package: {metadata: {team: kiosk}}\n")
    done = mlp.make()
    assert {"canonicalize", "package"} <= ran(done)
    assert done.event("action", action="mlp/canonicalize")["reasons"] == ["an artifact of it is no longer in the store"]
    mlp.recipe("mlp", MLP)
    assert mlp.make().code == 0
    assert (mlp.root / "build/mlp/default/model.onnx").read_bytes() == clean


def test_altered_blob_is_rebuilt_and_reported_with_who_made_it(mlp: Project) -> None:
    assert ran(mlp.make())
    (altered,) = models(mlp)
    altered.chmod(0o644)
    altered.write_bytes(altered.read_bytes()[:-1] + b"\x00")
    mlp.recipe("mlp", MLP + "passes: [onnxslim: default]\n")
    done = mlp.make()
    assert {"canonicalize", "optimize"} <= ran(done)
    assert "mlp/canonicalize" in done.event("notice", code="corrupt-artifact")["message"]


def test_failure_is_not_kept(mlp: Project) -> None:
    """The same key fails, then works: nothing of the failure stands in its way."""
    mlp.write("recipes/moody.py", "import os, pathlib\n\n\ndef run(model):\n"
              "    if not os.path.exists('/proc/self/oom_score_adj'):\n        return model\n"
              "    raise ValueError('not today')\n")  # fmt: skip
    mlp.recipe("mlp", MLP + "passes: [custom: {function: moody.py:run}]\n")
    first, second = mlp.make(), mlp.make()
    assert "optimize" in ran(first, 1)
    assert ran(second, 1) == {"optimize"}
    traces = [t for t in (mlp.root / ".onnxbuild/traces").rglob("*.json") if b'"stage":"optimize"' in t.read_bytes()]
    assert traces == []


def test_failed_gate_fails_again_with_equal_events_and_without_measuring(mlp: Project) -> None:
    write_mlp(mlp)
    mlp.recipe("mlp", MLP + "quantization: {mode: dynamic}\ntolerance: {outputs: {y: {max_abs: 1.0e-7}}}\n")
    first, second, third = mlp.make(), mlp.make(), mlp.make()
    assert "validate@cpu" in ran(first, 1)
    judged = [[e for e in done.events if e["event"] in ("gate", "verdict")] for done in (first, second, third)]
    told = [sorted(events, key=itemgetter("target")) for events in judged]  # targets are judged as they are done
    assert told[0] == told[1] == told[2]
    assert [e["verdict"] for e in told[0]] == ["failed", "failed"]
    for again in (second, third):
        assert ran(again, 1) == set()
        assert not [e for e in again.events if e["event"] == "start"]
