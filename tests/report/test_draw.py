"""Which pages a make draws: those whose recipes came to something else, and the index with the rows of all."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from onnxbuild.report import numbers
from tests.project import MLP, Project, write_mlp
from tests.report.page_text import visible_text


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


def page(project: Project, name: str) -> str:
    return visible_text((project.root / f"reports/{name}.html").read_text())


def test_a_changed_lock_draws_its_page_again_and_the_page_says_what_differs_from_it(two: Project) -> None:
    before = drawn(two)
    assert "Never accepted." in page(two, "ant")
    assert two.run("accept", "ant").code == 0
    assert two.make().code == 0
    assert drawn(two)["zebra.html"] == before["zebra.html"]
    assert drawn(two)["ant.html"] != before["ant.html"]
    assert "As accepted." in page(two, "ant")
    rows = json.loads((two.root / "reports/index.json").read_text())["rows"]
    assert [row["accepted"] for row in rows] == ["never accepted", "as accepted"]
    two.recipe("b", "name: ant\n" + MLP.replace("opset: 20", "opset: 18"))
    assert two.make().code == 0
    text = page(two, "ant")
    assert "Against the accepted build: another graph; other lines in the recipe." in text
    assert "opset ai.onnx Graph | 19 | 18 | −1" in text
    (two.root / "recipes/b.lock.json").unlink()
    assert two.make().code == 0
    assert "Never accepted." in page(two, "ant")


def test_a_waiver_is_shown_ever_after(two: Project) -> None:
    recipe = "name: ant\n" + MLP.replace("opset: 20", "opset: 19")
    two.recipe("b", recipe + "gates: {size: {at_most: 1 kB}}\n")
    assert two.make("ant").code == 1
    assert two.run("accept", "ant", "--waive", "size", "--reason", "the kiosk has room").code == 0
    for text in (recipe + "gates: {size: {at_most: 1 kB}}\n", recipe):
        two.recipe("b", text)
        two.make("ant")
        assert "accepted with a waiver for size" in page(two, "ant").lower()
        assert "default | size | the kiosk has room" in page(two, "ant")
        assert "accepted with a waiver for size" in page(two, "index")


def git(project: Project, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *who, *arguments], cwd=project.root, capture_output=True, check=True)


def edit_lock(project: Project, **values: object) -> None:
    file = project.root / "recipes/b.lock.json"
    lock = json.loads(file.read_text())
    lock["targets"]["default"] |= values
    file.write_text(json.dumps(lock))


def row_of(project: Project, name: str) -> dict[str, Any]:
    rows = json.loads((project.root / "reports/index.json").read_text())["rows"]
    return next(row for row in rows if row["recipe"] == name)


def test_the_index_draws_the_history_of_locks_and_the_page_the_lines_that_are_not_as_accepted(two: Project) -> None:
    two.write(".gitignore", ".onnxbuild\nbuild\nreports\nevents.jsonl\nbin\n")
    git(two, "init", "-q")
    assert two.run("accept", "ant").code == 0
    git(two, "add", ".")
    git(two, "commit", "-qm", "accepted")
    size = row_of(two, "ant")["bytes"]
    edit_lock(two, bytes=2 * size)
    git(two, "commit", "-qam", "accepted something larger")
    edit_lock(two, bytes=3 * size)
    assert two.make().code == 0
    row = row_of(two, "ant")
    assert (row["bytes_trend"], row["bytes_accepted"]) == ([size, 2 * size, 3 * size], 3 * size)
    assert row_of(two, "zebra")["bytes_trend"] == []
    index = (two.root / "reports/index.html").read_text()
    assert index.count('class="spark"') == 2, "of metric and size"
    assert (
        f"size as accepted 3 times: {numbers.size(size)} to {numbers.size(3 * size)}; now {numbers.size(size)}" in index
    )
    assert "Lines of the recipe" not in page(two, "ant")

    git(two, "commit", "-qam", "accepted something larger still")
    assert two.run("report").code == 0
    drawn_again = (two.root / "reports/index.html").read_text()
    day = row_of(two, "ant")["accepted_on"]
    assert drawn_again.replace(f"<small>accepted on {day}</small>", "").replace(f'"{day}"', "null") == index

    two.recipe("b", "name: ant\n" + MLP.replace("opset: 20", "opset: 18"))
    git(two, "commit", "-qam", "another opset")
    assert two.make().code == 0
    assert "-opset: 19\n+opset: 18" in page(two, "ant")

    fake = two.write("bin/git", f"#!/bin/sh\ntouch '{two.root}/asked'\nexit 1\n")
    fake.chmod(0o755)
    path = {"PATH": f"{fake.parent}:{os.environ['PATH']}"}
    nothing = two.make(env=path)
    assert nothing.code == 0
    assert len(nothing.err.splitlines() + nothing.out.splitlines()) == 1
    assert not (two.root / "asked").exists(), "a make with nothing to do asks git nothing"
    edit_lock(two, bytes=4 * size)
    assert two.make(env=path).code == 0
    assert (two.root / "asked").exists()
    assert row_of(two, "ant")["bytes_trend"] == [], "where git fails there is no line, and no failure"
