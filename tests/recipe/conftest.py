"""Fixtures of the tests of recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recipe.builder import ProjectFiles


@pytest.fixture
def project(tmp_path: Path) -> ProjectFiles:
    return ProjectFiles(tmp_path)
