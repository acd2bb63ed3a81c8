"""Python's audit events, and the looks at files that raise none, as sights of files; knows no library.

A hook cannot be taken back once it is set, so this is for processes that run one job.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Callable
from typing import Any

from onnxbuild.engine.journal import Journal, Sight
from onnxbuild.engine.territory import Territory

_WRITING = os.O_WRONLY | os.O_RDWR

EVENTS: dict[str, tuple[tuple[int, Sight], ...]] = {
    "os.listdir": ((0, Sight.LISTED),),
    "os.scandir": ((0, Sight.LISTED),),
    "os.rename": ((0, Sight.WRITTEN), (1, Sight.WRITTEN)),
    "os.link": ((0, Sight.OPENED), (1, Sight.WRITTEN)),
    "os.symlink": ((1, Sight.WRITTEN),),
    "os.remove": ((0, Sight.WRITTEN),),
    "os.truncate": ((0, Sight.WRITTEN),),
    "sqlite3.connect": ((0, Sight.OPENED),),
    "ctypes.dlopen": ((0, Sight.OPENED),),
    "import": ((1, Sight.OPENED),),
}
"""Which arguments of an event are files, and what became of them; `open` tells it by its mode."""

STARTS = {
    "subprocess.Popen": 0,
    "os.system": 0,
    "os.exec": 0,
    "os.spawn": 1,
    "os.posix_spawn": 0,
    "pty.spawn": 0,
}
"""Which argument of an event is the program that starts."""

HARMLESS = frozenset(
    (
        *("uname", "ldconfig", "gcc", "cc", "clang", "g++", "c++", "ld", "objdump", "lscpu", "nproc"),
        *("nvidia-smi", "sysctl", "getconf", "sw_vers", "xcrun"),
    )
)
"""Programs by which libraries look at the machine."""

_IMPORT_SYSTEM = ("<frozen importlib", os.path.dirname(importlib.metadata.__file__))
"""Code that lists folders on `sys.path` for itself: what it looked for is known better, see imports.py."""


class Audit:
    """Notes in a journal which files the process and its forks open, list, ask for and write."""

    def __init__(self, territory: Territory, journal: Journal, is_by_user: Callable[[], bool]) -> None:
        self._territory, self._journal, self._is_by_user = territory, journal, is_by_user

    def start(self) -> None:
        """Set the hook and wrap the looks that raise no event."""
        for name in ("stat", "lstat", "access"):
            self._wrap_look(name)
        sys.addaudithook(self._hear)

    def see(self, sight: Sight, path: object) -> bool:
        """Note a file by its path (text, bytes, path-like or descriptor) if it can be anyone's input; return that."""
        try:
            text = _text(path)
            name = self._territory.name(text)
            if name is None:
                return False
            self._journal.note(sight, name, text if sight is Sight.OPENED else None)
            return True
        except (OSError, ValueError, TypeError):
            return False  # no path that the system itself would take

    def miss(self, what: str) -> None:
        """Note that user code did something whose reading nobody sees."""
        self._journal.note(Sight.UNSEEN, what)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = args
            writes = isinstance(flags, int) and bool(flags & _WRITING)
            writes = writes or (isinstance(mode, str) and not {"w", "a", "x", "+"}.isdisjoint(mode))
            self.see(Sight.WRITTEN if writes else Sight.OPENED, path)
        elif event in EVENTS:
            for index, sight in EVENTS[event]:
                if sight is Sight.LISTED and sys._getframe(1).f_code.co_filename.startswith(_IMPORT_SYSTEM):
                    continue
                if index < len(args) and (args[index] is not None or sight is Sight.LISTED):
                    self.see(sight, "." if args[index] is None else args[index])
        elif event in STARTS:
            self._see_start(args[STARTS[event]])

    def _see_start(self, program: object) -> None:
        try:
            words = _text(program).split()
        except (OSError, TypeError):
            words = []
        name = os.path.basename(words[0]) if words else "another program"
        if name not in HARMLESS and self._is_by_user():
            self.miss(f"starts {name}")

    def _wrap_look(self, name: str) -> None:
        original: Callable[..., Any] = getattr(os, name)

        def look(path: Any, *args: Any, **options: Any) -> Any:
            if not isinstance(path, int) and options.get("dir_fd") is None:
                self.see(Sight.PROBED, path)
            return original(path, *args, **options)

        for supporting in (os.supports_dir_fd, os.supports_effective_ids, os.supports_fd, os.supports_follow_symlinks):
            if original in supporting:
                supporting.add(look)
        setattr(os, name, look)


def _text(path: Any) -> str:
    """Return a path as text; that of an open descriptor by what the system knows of it."""
    if isinstance(path, int):
        path = os.readlink(f"/proc/self/fd/{path}")
    return os.fsdecode(path)
