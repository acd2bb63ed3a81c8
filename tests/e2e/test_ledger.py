"""What a make says of errors: intervals of the metric, doubts that change no verdict, the step that missed a limit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.project import MLP, Project, write_mlp


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    write_mlp(made)
    return made


def mislabel(project: Project, share: float) -> None:
    """Give a share of the test data other labels than the model's."""
    file = project.root / "recipes/data/test.npz"
    with np.load(file) as data:
        x, labels = data["x"], data["labels"]
    labels[: round(share * len(labels))] += 1
    np.savez(file, x=x, labels=labels % 4)


def test_data_that_cannot_decide_is_a_warning_and_no_verdict(project: Project) -> None:
    mislabel(project, 1 / 12)
    project.recipe("mlp", MLP + "tolerance: {metric: {at_least: 0.9}}\n")
    done = project.make()
    assert done.code == 0, done.err
    gate = done.event("gate", gate="tolerance.metric")
    assert gate["verdict"] == "passed"
    low, high = gate["interval"]
    assert 0.84 < low < 0.9 < gate["measured"] < high < 0.98
    assert [w["code"] for w in gate["warnings"]] == ["data-cannot-decide"]
    assert "[data-cannot-decide]" in done.out
    assert "data-cannot-decide" in (project.root / "reports/mlp.html").read_text()


def test_a_limit_far_from_the_interval_is_no_doubt(project: Project) -> None:
    mislabel(project, 1 / 12)
    project.recipe("mlp", MLP + "tolerance: {metric: {at_least: 0.5}}\n")
    done = project.make()
    assert done.event("gate", gate="tolerance.metric")["warnings"] == []
    assert "data-cannot-decide" not in done.out + (project.root / "reports/mlp.html").read_text()


def test_a_failed_gate_names_the_first_step_after_which_it_is_missed(project: Project) -> None:
    steps = "passes: [{onnxruntime: basic}]\npruning: {method: magnitude, sparsity: 0.5}\n"
    steps += "quantization: {mode: dynamic}\ntolerance: {outputs: {y: {cosine: 0.99999}}}\n"
    project.recipe("mlp", MLP + steps)
    done = project.make()
    assert done.code == 1
    assert done.event("gate", gate="tolerance.y.cosine")["reason"].endswith("first missed after prune")
    assert "first missed after prune" in done.out
    project.recipe("mlp", MLP + steps.replace("pruning: {method: magnitude, sparsity: 0.5}\n", ""))
    assert project.make().event("gate", gate="tolerance.y.cosine")["reason"].endswith("first missed after quantize")
