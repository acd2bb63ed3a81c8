"""One lock a key, and one for the machine, each held by at most one process and freed by the kernel when it dies."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from onnxbuild.base.atomic import is_at


class KeyLock:
    """A `flock` on a key's lock file; the file names the holder for whoever waits. `why` says what it is held for."""

    why = "builds the same"

    def __init__(self, root: Path, key: str) -> None:
        self.path = root / "locks" / key
        self._handle: int | None = None

    def try_acquire(self, holder: str) -> bool:
        """Take the lock and write `holder` into it, or return False at once when another process has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = self._open()
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

    def _open(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

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


class MachineLock(KeyLock):
    """The lock of who measures time on this machine, of any user and in any store; it lies with temporary files."""

    why = "measures alone on this machine"

    def __init__(self) -> None:
        self.path = Path(tempfile.gettempdir(), "onnxbuild-measuring.lock")
        self._handle = None

    def _open(self) -> int:
        """Open the file of whoever came first: in a folder for all, Linux lets nobody else open it with O_CREAT."""
        while True:
            with suppress(FileNotFoundError):
                return os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            with suppress(FileExistsError):
                handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                os.fchmod(handle, 0o666)
                return handle


class BothLocks:
    """A key's lock and the machine's, taken together or not at all."""

    def __init__(self, key: KeyLock) -> None:
        self._locks = (key, MachineLock())
        self._refused: KeyLock = key

    @property
    def why(self) -> str:
        """What the one that could not be had is held for."""
        return self._refused.why

    def try_acquire(self, holder: str) -> bool:
        """Take both, or return False at once when another process has one."""
        for lock in self._locks:
            if not lock.try_acquire(holder):
                self._refused = lock
                self.release()
                return False
        return True

    def holder(self) -> str:
        """Return who holds the one that could not be had."""
        return self._refused.holder()

    def release(self) -> None:
        """Free both."""
        for lock in self._locks:
            lock.release()
