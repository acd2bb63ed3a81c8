"""Digests of the project's files and versions of installed packages, remembered by stat; knows no action."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from onnxbuild.base.codec import encode
from onnxbuild.base.digest import digest_bytes, digest_file, list_files
from onnxbuild.engine.installed import installed_version
from onnxbuild.engine.state import read_state, write_state
from onnxbuild.store.traces import Discovered

GRAIN = 50_000_000
"""Nanoseconds within which two writes may get the same time stamp; younger files are hashed again next time."""

PLACE = "a folder"
"""Stands for the digest of a folder of which only its being there counts."""


class Inputs:
    """What is on disk now. One instance serves one run; `save` keeps the stat index for the next."""

    def __init__(self, root: Path, index: Path, hidden: Iterable[str | Path] = ()) -> None:
        self.root = root
        self._hidden = {Path(folder) for folder in hidden}
        self._index_file = index
        self._index: dict[str, list[int | str]] = read_state(index)
        self._versions: dict[str, str] = {}
        self._dirty = False

    def digest(self, name: str) -> str | None:
        """Return the digest of a file or of all files below a folder; None when there is neither.

        `name` is relative to the project, or absolute.
        """
        path = self.root / name
        try:
            stat = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if path.is_dir():
            return digest_bytes(encode([[file, self.digest(str(path / file))] for file in list_files(path)]))
        return self._file(self._name(path), path, stat)

    def listing(self, name: str) -> str | None:
        """Return the digest of a folder's entries by name, hidden ones left out; None when there is no such folder."""
        try:
            entries = [e.name for e in (self.root / name).iterdir() if e not in self._hidden]
        except (FileNotFoundError, NotADirectoryError):
            return None
        texts = (name.encode(errors="backslashreplace").decode() for name in entries if name != "__pycache__")
        return digest_bytes(encode(sorted(texts)))  # a name may be no UTF-8

    def match(self, pattern: str) -> list[str]:
        """Return the names of all files that a glob matches, sorted; `pattern` may lead out of the project."""
        names = (os.path.relpath(path, self.root) for path in self.root.glob(pattern) if path.is_file())
        return sorted(names)

    def matching(self, pattern: str) -> str:
        """Return the digest of the names and contents of all files that a glob matches."""
        return digest_bytes(encode([[file, self.digest(file)] for file in self.match(pattern)]))

    def version(self, distribution: str) -> str:
        """Return the installed version of a distribution, or "absent"."""
        if distribution not in self._versions:
            self._versions[distribution] = installed_version(distribution)
        return self._versions[distribution]

    @property
    def packages(self) -> tuple[str, ...]:
        """The distributions that were asked for."""
        return tuple(self._versions)

    def remember(self, path: Path, digest: str) -> None:
        """Note the digest of a file that this process has just put there, so that nobody reads it to know."""
        self._index[self._name(path)] = [*_signature(path.stat()), digest]
        self._dirty = True

    def now(self, found: Discovered) -> str | None:
        """Return what a discovered input is now, None when there is none; see `is_current`."""
        match found.kind:
            case "file" | "absent":
                return self.digest(found.name)
            case "folder":
                return self.listing(found.name)
            case "place":
                return PLACE if (self.root / found.name).is_dir() else None
            case "glob":
                return self.matching(found.name)
            case "package":
                return self.version(found.name)
            case kind:
                return f"of a kind, {kind}, that this version does not know"

    def is_current(self, found: Discovered) -> bool:
        """Tell whether a discovered input still is what it was; what was absent has the digest ''."""
        return (self.now(found) or "") == found.digest

    def save(self) -> None:
        """Write the stat index, when anything in it is new."""
        if self._dirty:
            write_state(self._index_file, self._index, durable=False)  # lost, it is made again
            self._dirty = False

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def _file(self, name: str, path: Path, stat: os.stat_result) -> str:
        signature = _signature(stat)
        known = self._index.get(name)
        if known is not None and known[:5] == signature:
            return str(known[5])
        digest = digest_file(path)
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > GRAIN:
            self._index[name] = [*signature, digest]
            self._dirty = True
        return digest


def _signature(stat: os.stat_result) -> list[int | str]:
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
