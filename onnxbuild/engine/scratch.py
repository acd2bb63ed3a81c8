"""A folder for one run's temporary files, held by a lock that dies with the process; knows nothing of what is in it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from onnxbuild.base.atomic import hold

LOCK = ".lock"


class Scratch:
    """A claimed folder; `discard` removes one that is in it, `release` all."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        while True:  # the lock comes first and goes last: a folder without one belongs to nobody
            self._handle, name = tempfile.mkstemp(dir=parent, suffix=LOCK)
            self._lock = Path(name)
            if hold(self._handle, self._lock):
                break
            os.close(self._handle)
        self.path = self._lock.with_suffix("")
        self.path.mkdir()
        self._removals: list[threading.Thread] = []

    def discard(self, folder: Path) -> None:
        """Remove a folder that nobody needs any more, while the caller goes on: a file system may take long for it."""
        removal = threading.Thread(target=shutil.rmtree, args=(folder,), kwargs={"ignore_errors": True}, daemon=True)
        removal.start()
        self._removals = [*(r for r in self._removals if r.is_alive()), removal]

    def release(self) -> None:
        """Remove the folder with all that is in it."""
        for removal in self._removals:
            removal.join()
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.unlink(missing_ok=True)
        os.close(self._handle)


def sweep(parent: Path, recover: Callable[[], None]) -> None:
    """Remove the folders whose process did not live to release them, after `recover` has cleared what else it left.

    `recover` is called only when there is such a folder; when this process dies in it, the next one finds it again.
    """
    with ExitStack() as held:
        dead = [path for path in sorted(_entries(parent)) if _take(path, held)]
        if dead:
            recover()
        for path in dead:
            if not path.name.endswith(LOCK):
                shutil.rmtree(path, ignore_errors=True)
        for path in dead:
            if path.name.endswith(LOCK):
                path.unlink(missing_ok=True)  # still held: who claims it meanwhile sees that it is gone


def _take(path: Path, held: ExitStack) -> bool:
    """Tell whether `path` is a lock that nobody has, and hold it, or is a folder whose lock is free or gone."""
    lock = path if path.name.endswith(LOCK) else path.with_name(path.name + LOCK)
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    if path is lock:
        held.callback(os.close, handle)
    else:
        os.close(handle)
    return True


def _entries(parent: Path) -> list[Path]:
    return list(parent.iterdir()) if parent.is_dir() else []
