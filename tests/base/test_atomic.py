"""Folders appear whole under their name, also when another builder delivers the same one at the same moment."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from onnxbuild.base.atomic import replace_folder, write_atomically

RENAME = Path.rename


@pytest.fixture
def new(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    (tmp_path / "new/mine").touch()
    return tmp_path / "new"


def test_folder_removed_between_its_making_and_the_rename_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, removed = Path.mkdir, []

    def mkdir(self: Path, *arguments: Any, **keywords: Any) -> None:
        made(self, *arguments, **keywords)
        if self.name == "key" and not removed:
            removed.append(self)
            self.rmdir()

    monkeypatch.setattr(Path, "mkdir", mkdir)
    write_atomically(tmp_path / "store/key/trace.json", b"whole", through=tmp_path / "tmp")
    assert removed
    assert (tmp_path / "store/key/trace.json").read_bytes() == b"whole"


def assert_mine(final: Path) -> None:
    assert [path.name for path in final.iterdir()] == ["mine"]
    assert [path.name for path in final.parent.iterdir()] == ["final"]


@pytest.mark.parametrize("there", [True, False])
def test_new_folder_takes_the_old_one_s_place(new: Path, tmp_path: Path, there: bool) -> None:
    final = tmp_path / "out/final"
    if there:
        final.mkdir(parents=True)
        (final / "old").touch()
    replace_folder(new, final)
    assert_mine(final)


def test_another_folder_that_comes_first_is_replaced(
    new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final, came = tmp_path / "out/final", []

    def rename(self: Path, target: Path) -> Path:
        if self == new and not came:
            came.append(True)
            final.mkdir()
            (final / "theirs").touch()
        return RENAME(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    replace_folder(new, final)
    assert came
    assert_mine(final)


def test_old_folder_that_another_moves_away_is_no_error(
    new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = tmp_path / "out/final"
    final.mkdir(parents=True)
    (final / "old").touch()

    def rename(self: Path, target: Path) -> Path:
        if self == final:
            shutil.rmtree(final)
        return RENAME(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    replace_folder(new, final)
    assert_mine(final)
