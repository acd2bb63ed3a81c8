"""Which library a process died in, from what Python's faulthandler left in its log; knows no jobs."""

from __future__ import annotations

import re
from pathlib import Path

_TAIL = 1 << 16
"""Bytes at a log's end that are looked at: a stack of a hundred frames and a list of extension modules."""
_SAID = {
    "SIGSEGV": "Segmentation fault",
    "SIGABRT": "Aborted",
    "SIGBUS": "Bus error",
    "SIGFPE": "Floating-point exception",
    "SIGILL": "Illegal instruction",
}
_FRAME = re.compile(r'^  File "(.+)", line \d+ in ', re.MULTILINE)
_LIBRARY = re.compile(r"/(?:site|dist)-packages/(\w+)")


def library_of(log: Path, ended: str) -> str | None:
    """Return the package in whose code the process of a log died; None where that is no package, or not known.

    `ended` says how, with the name of a signal last: another process that wrote into the log may have died before.
    """
    said = _SAID.get(ended.rpartition(" ")[2])
    if said is None:
        return None
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return None
    _, found, stack = text.rpartition(f"Fatal Python error: {said}")
    innermost = _FRAME.search(stack) if found else None
    library = _LIBRARY.search(innermost[1]) if innermost is not None else None
    return library[1] if library is not None else None
