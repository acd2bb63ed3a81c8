"""Tells by stat alone whether anything a build read is other than before; knows no recipe and reads no content."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from onnxbuild.base.digest import list_files
from onnxbuild.store.traces import Discovered

Look = Mapping[str, object]
"""What was seen of each name at one moment; equal when nothing changed."""


class Watched:
    """The Python files of a project, the files that `patterns` match, and what actions named and discovered.

    Python files all count, because a broken one leaves no trace of what it had imported. `hidden` folders, folders
    whose name begins with a dot and virtual environments never do.
    """

    def __init__(
        self, root: Path, hidden: Iterable[Path], patterns: Iterable[str], found: Iterable[Discovered] = ()
    ) -> None:
        self._root = root
        self._hidden = {str(folder) for folder in hidden}
        self._patterns = tuple(patterns)
        self._found = tuple(sorted(set(found)))
        self._folders: dict[str, tuple[int, list[str], list[str]]] = {}

    def look(self) -> Look:
        """Return what is there now."""
        seen: dict[str, object] = {path: _signature(path) for path in self._python(str(self._root))}
        for pattern in self._patterns:
            seen |= {str(path): _signature(path) for path in self._root.glob(pattern)}
        for found in self._found:
            match found.kind:
                case "file" | "absent":
                    seen |= self._file(found.name)
                case "place":
                    seen[f"{found.name}{os.sep}"] = (self._root / found.name).is_dir()
                case "folder":
                    seen[f"{found.name}{os.sep}"] = _names(self._root / found.name)
                case "glob":
                    seen |= {str(path): _signature(path) for path in self._root.glob(found.name)}
                case _:
                    pass
        return seen

    def _file(self, name: str) -> dict[str, object]:
        path = self._root / name
        if path.is_dir():
            return {str(path / file): _signature(path / file) for file in list_files(path)}
        return {str(path): _signature(path)}

    def _python(self, folder: str) -> Iterator[str]:
        """Yield the Python files below a folder; a folder that did not change is not listed again."""
        try:
            changed = Path(folder).stat().st_mtime_ns
        except OSError:
            return
        known = self._folders.get(folder)
        if known is None or known[0] != changed:
            known = self._folders[folder] = (changed, *self._list(folder))
        yield from known[1]
        for inner in known[2]:
            yield from self._python(inner)

    def _list(self, folder: str) -> tuple[list[str], list[str]]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            return [], []
        if any(entry.name == "pyvenv.cfg" for entry in entries):
            return [], []
        files = [entry.path for entry in entries if entry.name.endswith(".py") and entry.is_file()]
        folders = [
            entry.path
            for entry in entries
            if entry.is_dir(follow_symlinks=False)
            and not entry.name.startswith((".", "__pycache__"))
            and entry.path not in self._hidden
        ]
        return files, folders


def written_since(moment: int, now: Look, known: Look) -> bool:
    """Tell whether any file that is not in `known` was written after `moment` (ns, UTC).

    What a build discovers is first looked at after it, so its own time stamps must tell.
    """
    return any(
        isinstance(value, _Signature) and max(value[3:]) > moment for name, value in now.items() if name not in known
    )


class _Signature(tuple[int, ...]):
    """Device, inode, size, mtime and ctime in nanoseconds."""

    __slots__ = ()


def _signature(path: str | Path) -> _Signature | None:
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return _Signature((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))


def _names(folder: Path) -> tuple[str, ...] | None:
    try:
        return tuple(sorted(path.name for path in folder.iterdir() if path.name != "__pycache__"))
    except OSError:
        return None
