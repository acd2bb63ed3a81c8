"""Fixtures for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project import MLP, Project, write_mlp


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project."""
    return Project(tmp_path / "project")


@pytest.fixture
def mlp(project: Project) -> Project:
    """A project with one recipe for an ONNX classifier."""
    write_mlp(project)
    project.recipe("mlp", MLP)
    return project
