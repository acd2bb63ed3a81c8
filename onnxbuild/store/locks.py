"""One lock a key, held by at most one process and freed by the kernel when it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from onnxbuild.base.atomic import is_at


class KeyLock:
    """A `flock` on a key's lock file; the file names the holder for whoever waits."""

    def __init__(self, root: Path, key: str) -> None:
        self.path = root / "locks" / key
        self._handle: int | None = None

    def try_acquire(self, holder: str) -> bool:
        """Take the lock and write `holder` into it, or return False at once when another process has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        if not is_at(handle, self.path):  # removed before we had it: whoever comes now locks another file
            os.close(handle)
            return False
        os.ftruncate(handle, 0)
        os.write(handle, holder.encode())
        self._handle = handle
        return True

    def holder(self) -> str:
        """Return who holds the lock, as it wrote itself down."""
        try:
            return self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def release(self) -> None:
        """Free the lock; the file stays, because removing it would let two holders in."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
