"""Leases: files that running makes hold locked, so that a collection knows since when something may be in use."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path

from onnxbuild.base.atomic import hold

FOLDER = "leases"


class Lease:
    """One running make's lease, freed by the kernel when it dies. In a store that cannot be written it is none."""

    def __init__(self, root: Path) -> None:
        self._handle: int | None = None
        self._file = Path()
        with contextlib.suppress(OSError):
            (root / FOLDER).mkdir(parents=True, exist_ok=True)
            while self._handle is None:
                handle, name = tempfile.mkstemp(dir=root / FOLDER)
                self._file = Path(name)
                if hold(handle, self._file):
                    self._handle = handle
                else:  # removed between its creation and our lock
                    os.close(handle)

    def release(self) -> None:
        """Give the lease back."""
        if self._handle is not None:
            self._file.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None


def oldest_lease(root: Path) -> float | None:
    """Return when the longest running make began (POSIX seconds), None when none runs; forget the dead."""
    began = []
    for path in (root / FOLDER).glob("*"):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                began.append(path.stat().st_mtime)
                continue
            with contextlib.suppress(OSError):
                path.unlink()
    return min(began, default=None)
