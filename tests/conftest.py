"""Fixtures for all tests."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.project import MLP, Project, write_mlp

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")  # a busy machine fails no test

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as below nohup; then no make that a test starts hears of Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
