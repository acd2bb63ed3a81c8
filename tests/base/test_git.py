"""git is bounded in what it may print and take, and what it says when it refuses is handed on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onnxbuild.base.git import GitError, git


def a_git_that(folder: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """Put a program of that name first on the path."""
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\n{does}\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_what_it_prints_and_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_git_that(tmp_path / "bin", monkeypatch, "cat; cat >&2 /dev/null")
    given = b"x" * 300_000  # more than a pipe holds
    assert git(tmp_path, "log", stdin=given) == given
    with pytest.raises(GitError, match="git log printed more than 200 kB"):
        git(tmp_path, "log", stdin=given, most=200_000)


def test_one_that_prints_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_git_that(tmp_path / "bin", monkeypatch, "exec yes")
    with pytest.raises(GitError, match="git log printed more than 1 MB"):
        git(tmp_path, "log", most=1_000_000)
    with pytest.raises(GitError, match="git log took too long"):
        git(tmp_path, "log", seconds=0, most=10**12)


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_git_that(tmp_path / "bin", monkeypatch, "exec sleep 1000")
    with pytest.raises(GitError, match="git log took too long"):
        git(tmp_path, "log", seconds=0.1)


def test_what_it_says_when_it_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_git_that(tmp_path / "bin", monkeypatch, "echo printed; echo refused >&2; exit 3")
    with pytest.raises(GitError, match=r"^refused$") as refused:
        git(tmp_path, "log")
    assert (refused.value.said, refused.value.ran) == ("refused", True)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitError, match="git cannot be run"):
        git(tmp_path, "log")
