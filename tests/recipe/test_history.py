"""What is read of the git history of locks and recipes: order, bounds, and nothing that foreign text could break."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from onnxbuild.base.digest import digest_bytes
from onnxbuild.recipe import history
from onnxbuild.recipe.history import Figures, History, entries_of, read_history

RECIPE, LOCK = "recipes/net.yaml", "recipes/net.lock.json"


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, check=True)


def lock(size: int, metric: float = 0.9, **more: object) -> str:
    entry = {
        "bytes": size,
        "metrics": {"cpu": {"name": "accuracy", "model": metric, "interval": [0, 1]}},
        "latencies": {"p50, batch 1@cpu": {"value": 2.5, "low": 2, "high": 3}},
        "unknown": [1],
        **more,
    }
    return json.dumps({"format": 1, "targets": {"fp32": entry}})


def write(root: Path, name: str, text: str, commit: str = "") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, "utf-8")
    if commit:
        git(root, "add", ".")
        git(root, "commit", "-qm", commit)


def sizes(found: History) -> list[int | None]:
    return [figures.bytes for figures in found.of(RECIPE, "fp32")]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository in whose folder `sub` a lock was committed three times, the last time with another recipe."""
    root = tmp_path / "sub"
    root.mkdir()
    git(tmp_path, "init", "-q")
    write(root, RECIPE, "a: 1\n")
    write(root, LOCK, lock(100), "first")
    write(root, "unrelated", "1", "unrelated")
    write(root, LOCK, lock(90), "second")
    write(root, RECIPE, "a: 2\n")
    write(root, LOCK, lock(80, 0.95), "third")
    return root


def test_versions_come_in_order_and_the_lock_as_it_is_last(repository: Path) -> None:
    assert sizes(read_history(repository, [RECIPE])) == [100, 90, 80]
    write(repository, LOCK, lock(70))
    found = read_history(repository, [RECIPE])
    assert sizes(found) == [100, 90, 80, 70]
    assert found.of(RECIPE, "other") == ()
    last = found.of(RECIPE, "fp32")[2]
    assert (last.metrics, last.names, last.latencies) == ({"cpu": 0.95}, {"cpu": "accuracy"}, {"p50, batch 1@cpu": 2.5})


@pytest.mark.parametrize("setting", ["log.showRoot=false", "log.follow=true", "log.showSignature=true"])
def test_no_setting_of_the_user_leaves_a_version_out(repository: Path, setting: str) -> None:
    git(repository, "config", *setting.split("="))
    assert sizes(read_history(repository, [RECIPE])) == [100, 90, 80]


def test_to_commit_a_lock_changes_nothing(repository: Path) -> None:
    write(repository, LOCK, lock(70))
    before = read_history(repository, [RECIPE]).of(RECIPE, "fp32")
    git(repository, "commit", "-qam", "fourth")
    assert read_history(repository, [RECIPE]).of(RECIPE, "fp32") == before


def test_the_day_is_that_of_the_commit_since_which_an_entry_is_what_it_is(repository: Path) -> None:
    def commit(text: str, day: str) -> None:
        write(repository, LOCK, text)
        git(repository, "add", ".")
        env = {**os.environ, "GIT_COMMITTER_DATE": f"{day}T12:00:00Z", "GIT_AUTHOR_DATE": "2000-01-01T00:00:00Z"}
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, "commit", "-qm", day], cwd=repository, check=True, env=env)

    def both(size: int) -> str:
        return json.dumps({"format": 1, "targets": {"fp32": {"bytes": 1}, "int8": {"bytes": size}}})

    commit(both(1), "2026-01-01")
    commit(both(2), "2026-02-02")
    commit(both(2) + "\n", "2026-03-03")
    found = read_history(repository, [RECIPE])
    assert (found.day_of(RECIPE, "fp32"), found.day_of(RECIPE, "int8")) == ("2026-01-01", "2026-02-02")
    assert found.day_of(RECIPE, "other") is None
    write(repository, LOCK, both(3))
    found = read_history(repository, [RECIPE])
    assert (found.day_of(RECIPE, "fp32"), found.day_of(RECIPE, "int8")) == ("2026-01-01", None)


def test_merges_count_as_what_they_brought(repository: Path) -> None:
    git(repository, "checkout", "-qb", "side")
    write(repository, LOCK, lock(60), "on the side")
    write(repository, LOCK, lock(50), "on the side too")
    git(repository, "checkout", "-q", "main")
    git(repository, "merge", "-q", "--no-ff", "-m", "merged", "side")
    assert sizes(read_history(repository, [RECIPE])) == [100, 90, 80, 50]


def test_texts_of_the_recipe_are_found_by_digest(repository: Path) -> None:
    texts = read_history(repository, [RECIPE]).texts
    assert texts[digest_bytes(b"a: 1\n")] == "a: 1\n"
    assert texts.keys() == {digest_bytes(b"a: 1\n"), digest_bytes(b"a: 2\n")}


def test_without_git_or_repository_there_is_the_lock_alone(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path.parent / "elsewhere"
    write(other, LOCK, lock(10))
    assert sizes(read_history(other, [RECIPE])) == [10]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sizes(read_history(repository, [RECIPE])) == [80]


def test_without_a_lock_git_is_not_asked(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / LOCK).unlink()
    monkeypatch.setattr(history, "git", lambda *_, **__: pytest.fail("git was asked"))
    assert read_history(repository, [RECIPE]) == History()


def test_reading_is_bounded(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_EACH", 2)
    assert sizes(read_history(repository, [RECIPE])) == [90, 80]
    monkeypatch.setattr(history, "MOST_REVISIONS", 1)
    assert sizes(read_history(repository, [RECIPE])) == [80]
    monkeypatch.undo()
    write(repository, LOCK, lock(1, padding="x" * 5000), "large")
    write(repository, LOCK, lock(2), "small")
    monkeypatch.setattr(history, "MOST_BYTES", 4000)
    assert sizes(read_history(repository, [RECIPE])) == [100, 90, 80, 2]
    monkeypatch.setattr(history, "MOST_READ", len(lock(80)) + 10)
    write(repository, LOCK, lock(3))
    assert sizes(read_history(repository, [RECIPE])) == [2, 3]


def test_what_git_tells_of_changes_is_bounded_in_bytes(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in range(40):
        write(repository, f"recipes/{name}", "", "many" if name == 39 else "")
    monkeypatch.setattr(history, "MOST_TOLD", 2000)
    assert sizes(read_history(repository, [RECIPE])) == [80], "the lock as it is now is all that is told"
    monkeypatch.undo()
    assert sizes(read_history(repository, [RECIPE])) == [100, 90, 80]


def test_odd_names_are_names(repository: Path) -> None:
    recipe = "recipes/[a]*/n\u00e9t: 1.yaml"
    write(repository, recipe, "a: 1\n")
    write(repository, "recipes/[a]*/n\u00e9t: 1.lock.json", lock(1), "odd")
    write(repository, "recipes/[a]*/n\u00e9t: 1.lock.json", lock(2), "odd again")
    assert [figures.bytes for figures in read_history(repository, [recipe]).of(recipe, "fp32")] == [1, 2]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "<<<<<<< ours\n",
        '{"format": 2, "targets": {"fp32": {"bytes": 1}}}',
        '{"format": 1, "targets": {"fp32": {"bytes": "many"}}}',
        '{"format": 1, "targets": {"fp32": {"bytes": -1}}}',
        '{"format": 1, "targets": {"fp32": {"bytes": 1' + "0" * 400 + "}}}",
        '{"format": 1, "targets": {"fp32": {"metrics": {"cpu": {"name": "a", "model": NaN}}}}}',
        '{"format": 1, "targets": {"fp32": ' + "[" * 100_000 + "]" * 100_000 + "}}",
        '{"format": 1, "targets": ["\\ud800"]}',
    ],
)
def test_what_is_no_lock_is_left_out(repository: Path, text: str) -> None:
    assert entries_of(text.encode()) == {}
    write(repository, LOCK, text, "broken")
    write(repository, LOCK, lock(70), "mended")
    assert sizes(read_history(repository, [RECIPE])) == [100, 90, 80, 70]


def test_one_broken_entry_leaves_the_others() -> None:
    endless = '{"latencies": {"p50@cpu": {"value": 1e400}}}'
    text = f'{{"format": 1, "targets": {{"a": {{"bytes": -1.5}}, "b": {{"bytes": 7}}, "c": {endless}}}}}'
    found = {name: figures for name, (_, figures) in entries_of(text.encode()).items()}
    assert found["b"] == Figures(bytes=7)
    assert "a" not in found
    assert "c" not in found or found["c"] == Figures()
