"""The examples, built once for all tests that look at what was delivered."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.project import Done, Project

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@dataclass(frozen=True)
class Examples:
    """The project with all examples, what its first make left, and what a second one did."""

    project: Project
    first: Done
    second: Done

    def folder(self, target: str) -> Path:
        """Return the folder that a target is delivered to."""
        return self.project.root / "build" / target.replace(":", "/")


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """Every recipe of the repository, made twice; takes more than a minute."""
    for module in ("torch", "tensorflow", "tf2onnx", "sklearn", "skl2onnx", "xgboost", "lightgbm", "skops", "pandas"):
        pytest.importorskip(module)
    root = tmp_path_factory.mktemp("examples")
    shutil.copytree(RECIPES, root / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    project = Project(root)
    return Examples(project, project.make("-j2", timeout=900), project.make("-j2"))
