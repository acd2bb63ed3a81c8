"""Running a function in a forked process, so that its crash or hang takes nothing else along; knows no tool.

Where forking is not safe (macOS) the function runs in this process, and a crash is this process's own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import psutil

FORKS = sys.platform == "linux"
_WHOLE, _RAISED, _NO_MEMORY = 70, 71, 72
"""Exit statuses of a process that has said what came of it: whoever leaves by itself leaves with another."""


class DiedError(Exception):
    """The process ended without a result; `signal` is the one that ended it, None where it left by itself."""

    def __init__(self, message: str, ended_by: int | None) -> None:
        super().__init__(message)
        self.signal = ended_by


class HungError(Exception):
    """The process took longer than it was given, and was killed."""


def run_apart(work: Callable[[], bytes], file: Path, seconds: float, leave: Callable[[], None]) -> bytes:
    """Return what `work` returns in a forked process of at most `seconds`; `file` carries it across and is then gone.

    `leave` is called there at the end. Raises DiedError, HungError, MemoryError, and RuntimeError with its traceback
    for whatever else `work` raises.
    """
    if not FORKS:
        return work()
    libc = ctypes.CDLL(None)  # before the fork: opening takes the loader's lock
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        _serve(work, file, leave, libc, parent)
    status = _wait(pid, seconds)
    if status is None:
        raise HungError(f"did not end within {seconds:.0f} s")
    code = os.waitstatus_to_exitcode(status)
    if code == _NO_MEMORY:
        raise MemoryError
    if code not in (_WHOLE, _RAISED) or not file.exists():
        raise DiedError(_describe(code), -code if code < 0 else None)
    data = file.read_bytes()
    file.unlink()
    if code != _WHOLE:
        raise RuntimeError(data.decode())
    return data


def _serve(work: Callable[[], bytes], file: Path, leave: Callable[[], None], libc: ctypes.CDLL, parent: int) -> None:
    status = 1
    try:
        libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nobody's work goes on
        if os.getppid() == parent:
            data, status = _result(work)
            leave()
            part = file.with_name(file.name + ".part")
            part.write_bytes(data)
            part.replace(file)
            sys.stdout.flush()
            sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        os._exit(status)


def _result(work: Callable[[], bytes]) -> tuple[bytes, int]:
    try:
        return work(), _WHOLE
    except MemoryError:
        return b"", _NO_MEMORY
    except Exception:
        return traceback.format_exc().encode(errors="replace"), _RAISED


def _wait(pid: int, seconds: float) -> int | None:
    """Return the process's wait status, or None when it had to be killed, with what it had started."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        ended = poll.poll(seconds * 1000)
    finally:
        os.close(descriptor)
    if not ended:
        with contextlib.suppress(psutil.Error):
            for process in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
                process.kill()
    _, status = os.waitpid(pid, 0)
    return status if ended else None


def _describe(code: int) -> str:
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"left with exit status {code}"
