"""What user code was seen to do, in its process and in those forked from it; knows not what follows from it.

Forked processes report by appending whole lines to one file. A pipe would need somebody who reads along, and a full one
would stop user code.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from enum import StrEnum

Signature = tuple[int, int, int]


class Sight(StrEnum):
    """What was seen: of files their names relative to the project, of modules their full names."""

    OPENED = "opened"
    WRITTEN = "written"
    LISTED = "listed"
    PROBED = "probed"  # asked whether it is there
    MISSED = "missed"  # by user code: "<module> <where a file of it would have been>"
    PASSED = "passed"  # the same by a library: of interest when the module was nowhere else
    FOUND = "found"  # there in the end, whoever imported it
    IMPORTED = "imported"  # by user code
    UNSEEN = "unseen"  # in words: what was done whose reading nobody sees


def signature_of(path: str) -> Signature | None:
    """Return what changes when somebody edits a file meanwhile, or None when there is none."""
    try:
        stat = _stat(path)
    except (OSError, ValueError):
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns  # not ctime: user code may link what it reads


_stat = os.stat  # before anything wraps it


@dataclass
class Journal:
    """Sights in the order in which they were first seen, with the signature a file had then."""

    file: str
    sights: dict[tuple[str, str], Signature | None] = field(default_factory=dict)
    _descriptor: int = -1
    _identity: tuple[int, int] = (0, 0)
    _is_forked: bool = False

    def open(self) -> None:
        """Make the file, and report to it from every process that is forked from now on."""
        self._descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._identity = self._identify()
        os.register_at_fork(after_in_child=self._fork)

    def note(self, sight: Sight, name: str, path: str | None = None) -> None:
        """Remember a sight; `path` is that of a file whose signature counts."""
        key = (sight.value, name)
        if key in self.sights:
            return
        self.sights[key] = found = signature_of(path) if path is not None else None
        if self._is_forked:
            self._report([sight.value, name, found])

    def collect(self) -> None:
        """Add what forked processes have reported."""
        with open(self.file, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                if line.endswith("\n"):
                    sight, name, found = json.loads(line)
                    self.sights.setdefault((sight, name), tuple(found) if found is not None else None)

    def names(self, sight: Sight) -> set[str]:
        """Return all names that were seen in one way."""
        return {name for seen, name in self.sights if seen == sight.value}

    def signature(self, sight: Sight, name: str) -> Signature | None:
        """Return the signature that a file had when it was first seen so, or None."""
        return self.sights.get((sight.value, name))

    def _fork(self) -> None:
        self._is_forked = True

    def _identify(self) -> tuple[int, int]:
        stat = os.fstat(self._descriptor)
        return stat.st_dev, stat.st_ino

    def _report(self, line: list[object]) -> None:
        try:
            ours = self._identify() == self._identity
        except OSError:
            ours = False
        if not ours:  # user code closed all descriptors, and may have got this number for a file of its own
            self._descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")
