"""Which pages a make draws: those whose recipes came to something else, and the index with the rows of all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.project import MLP, Project, write_mlp


def drawn(project: Project) -> dict[str, int]:
    """Return the inode of each page: a page that is drawn anew is another file."""
    return {page.name: page.stat().st_ino for page in (project.root / "reports").glob("*.html")}


@pytest.fixture
def two(tmp_path: Path) -> Project:
    """A project of two recipes whose order by file is not that by name, made."""
    project = Project(tmp_path / "project")
    write_mlp(project)
    project.recipe("a", "name: zebra\n" + MLP)
    project.recipe("b", "name: ant\n" + MLP.replace("opset: 20", "opset: 19"))
    assert project.make().code == 0
    return project


def test_only_the_changed_recipe_is_drawn_again_and_the_index_keeps_the_others(two: Project) -> None:
    before = drawn(two)
    rows = json.loads((two.root / "reports/index.json").read_text())["rows"]
    assert [row["recipe"] for row in rows] == ["zebra", "ant"]
    two.recipe("b", "name: ant\n" + MLP.replace("opset: 20", "opset: 18"))
    assert two.make().code == 0
    after = drawn(two)
    assert after["zebra.html"] == before["zebra.html"]
    assert after["ant.html"] != before["ant.html"]
    assert "opset" in (two.root / "reports/ant.html").read_text()
    again = json.loads((two.root / "reports/index.json").read_text())["rows"]
    assert [row["recipe"] for row in again] == ["zebra", "ant"]
    assert again[0] == rows[0]


def test_lost_page_lost_index_and_removed_recipe(two: Project) -> None:
    before = drawn(two)
    (two.root / "reports/ant.html").unlink()
    assert two.make().code == 0
    assert drawn(two)["zebra.html"] == before["zebra.html"]
    (two.root / "reports/index.html").unlink()
    assert two.make().code == 0
    assert drawn(two).keys() == before.keys()
    (two.root / "recipes/b.yaml").unlink()
    assert two.make().code == 0
    rows = json.loads((two.root / "reports/index.json").read_text())["rows"]
    assert [row["recipe"] for row in rows] == ["zebra"]


def test_target_that_was_not_asked_for_keeps_its_page(two: Project) -> None:
    before = drawn(two)
    two.recipe("b", "name: ant\n" + MLP.replace("opset: 20", "opset: 18"))
    assert two.make("zebra").code == 0
    assert drawn(two) == before
    assert two.make("ant").code == 0
    assert drawn(two)["ant.html"] != before["ant.html"]
