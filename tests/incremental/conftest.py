"""Projects built once, copied for each test that edits them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.incremental.projects import write_sklearn, write_steps, write_torch
from tests.project import Project


def built(root: Path, write: Callable[[Project], None]) -> Path:
    project = Project(root)
    write(project)
    done = project.make()
    assert done.code == 0, done.out + done.err
    return root


def copied(root: Path, to: Path) -> Project:
    shutil.copytree(root, to, copy_function=shutil.copyfile)
    return Project(to)


@pytest.fixture(scope="session")
def built_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX classifier with every kind of step and user code but a factory."""
    return built(tmp_path_factory.mktemp("steps") / "project", write_steps)


@pytest.fixture
def steps(built_steps: Path, tmp_path: Path) -> Project:
    """A copy of the built project, in another folder."""
    return copied(built_steps, tmp_path / "steps")


@pytest.fixture(scope="session")
def built_forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scikit-learn model whose factory imports, reads, lists and asks the environment."""
    pytest.importorskip("skl2onnx")
    return built(tmp_path_factory.mktemp("forest") / "project", write_sklearn)


@pytest.fixture
def forest(built_forest: Path, tmp_path: Path) -> Project:
    """A copy of the built project, in another folder."""
    return copied(built_forest, tmp_path / "forest")


@pytest.fixture(scope="session")
def built_net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A torch model with weights in a file."""
    pytest.importorskip("torch")
    return built(tmp_path_factory.mktemp("net") / "project", write_torch)


@pytest.fixture
def net(built_net: Path, tmp_path: Path) -> Project:
    """A copy of the built project, in another folder."""
    return copied(built_net, tmp_path / "net")
