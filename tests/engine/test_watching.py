"""What counts as a change for `make --watch`, seen by stat alone."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from onnxbuild.engine.watching import Watched, written_since
from onnxbuild.store.traces import Discovered

FOUND = (
    Discovered("file", "data/x.npz", ""),
    Discovered("absent", "data/y.npz", ""),
    Discovered("file", "saved", ""),
    Discovered("folder", "images", ""),
    Discovered("glob", "extra/*.txt", ""),
    Discovered("package", "numpy", "2"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("data/x.npz", "saved/deep/v.bin", "images/1.png", "extra/a.txt", "recipes/r.yaml", "lib/net.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        *("data/x.npz", "data/y.npz", "saved/deep/v.bin", "saved/new.bin", "images/2.png", "extra/a.txt"),
        *("extra/b.txt", "recipes/r.yaml", "recipes/s.yaml", "lib/net.py", "lib/other.py", "new/mod.py"),
    ],
)
def test_change_is_seen(root: Path, name: str) -> None:
    watched = Watched(root, (), ("recipes/*.yaml",), FOUND)
    before = watched.look()
    assert watched.look() == before
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text("another, longer text")
    assert watched.look() != before


@pytest.mark.parametrize("name", ["build/out.py", ".git/hook.py", "venv/lib/m.py", "notes.txt", "images/1.png"])
def test_what_does_not_count_is_not_seen(root: Path, name: str) -> None:
    (root / "venv").mkdir()
    (root / "venv/pyvenv.cfg").touch()
    watched = Watched(root, (root / "build",), ("recipes/*.yaml",), FOUND)
    before = watched.look()
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("another, longer text")
    assert watched.look() == before


def test_what_only_the_build_found_tells_by_its_own_time(root: Path) -> None:
    few, more = Watched(root, (), ()), Watched(root, (), (), FOUND)
    before = few.look()
    assert written_since(0, more.look(), before)
    assert not written_since(time.time_ns() + 10**9, more.look(), before)
    assert not written_since(0, few.look(), before)
