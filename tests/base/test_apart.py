"""Running a function in a process of its own: what it returns, raises, and how it may end."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from onnxbuild.base.apart import DiedError, HungError, run_apart


def apart(tmp_path: Path, work: Callable[[], bytes], seconds: float = 60) -> bytes:
    return run_apart(work, tmp_path / "result", seconds, (tmp_path / "left").touch)


def fail(error: BaseException) -> bytes:
    raise error


def test_what_it_returns_comes_across_and_nothing_else_does(tmp_path: Path) -> None:
    changed: list[int] = []

    def work() -> bytes:
        changed.append(1)
        return str(os.getpid()).encode()

    assert int(apart(tmp_path, work)) != os.getpid()
    assert changed == []
    assert [p.name for p in tmp_path.iterdir()] == ["left"]


def test_what_it_raises_is_a_bug_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)test_apart.*ValueError: oh"):
        apart(tmp_path, lambda: fail(ValueError("oh")))
    with pytest.raises(MemoryError):
        apart(tmp_path, lambda: fail(MemoryError()))


def test_a_crash_and_an_exit_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DiedError, match="SIGSEGV") as crashed:
        apart(tmp_path, lambda: ctypes.string_at(0))
    assert crashed.value.signal == 11
    with pytest.raises(DiedError, match="exit status 0") as left:
        apart(tmp_path, lambda: os._exit(0))
    assert left.value.signal is None
    assert not (tmp_path / "left").exists()


def test_what_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    def work() -> bytes:
        os.fork()
        threading.Event().wait()
        return b""

    with pytest.raises(HungError, match="within 1 s"):
        apart(tmp_path, work, 0.5 + 0.5)
    left = [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
    assert left == []
