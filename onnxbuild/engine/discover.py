"""Sees what user code opens, lists and imports inside the project; knows nothing of keys.

Python's audit events cannot be switched off once a hook is set, so this is for processes that run one job.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from onnxbuild.base.diagnostics import Remark
from onnxbuild.engine.inputs import Inputs, installed_version
from onnxbuild.store.traces import Discovered

_IMPORTING = "<frozen importlib"
_WRITING = os.O_WRONLY | os.O_RDWR


class Watch:
    """Collects the project's files that this process opens and the folders it lists, from `start` on."""

    def __init__(self, project: Path, hidden: Sequence[str]) -> None:
        self.project = str(project)
        ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # keyed by the stages' versions
        self.hidden = tuple(f"{folder.rstrip(os.sep)}{os.sep}" for folder in (*hidden, sys.prefix, ours))
        self.opened: set[str] = set()
        self.written: set[str] = set()
        self.listed: set[str] = set()
        self.searched: set[str] = set()
        self._started = False

    def start(self) -> None:
        """Set the audit hook."""
        self._started = True
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[object, ...]) -> None:
        if event == "open":
            path, mode, flags = args[0], args[1], args[2]
            writes = isinstance(flags, int) and bool(flags & _WRITING)
            writes = writes or (isinstance(mode, str) and any(letter in mode for letter in "wax+"))
            self._note(path, self.written if writes else self.opened)
        elif event in ("os.listdir", "os.scandir"):
            imports = sys._getframe(1).f_code.co_filename.startswith(_IMPORTING)
            self._note(args[0] if args[0] is not None else ".", self.searched if imports else self.listed)

    def _note(self, path: object, into: set[str]) -> None:
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if isinstance(path, str):
            absolute = os.path.abspath(path)
            if absolute.startswith(self.project + os.sep) and not absolute.startswith(self.hidden):
                into.add(absolute)

    def add(self, paths: Iterable[Path]) -> None:
        """Add files that were read in ways the hook does not see."""
        for path in paths:
            self._note(str(path), self.opened)

    def found(self, keyed: Iterable[str], reads: Iterable[str]) -> tuple[tuple[Discovered, ...], list[Remark]]:
        """Return what was discovered, less the paths `keyed`, and remarks; `reads` are globs in the project."""
        inputs = Inputs(Path(self.project), Path(os.devnull))
        if self._started:
            self.add(Path(f) for m in list(sys.modules.values()) if isinstance(f := getattr(m, "__file__", None), str))
        self.add(file for pattern in reads for file in inputs.files_matching(pattern))
        known = tuple(keyed)
        remarks = [
            Remark(
                "written-and-read",
                f"{os.path.relpath(path, self.project)} is both written and read by user code: no input",
            )
            for path in sorted(self.opened & self.written)
        ]
        result = set()
        for path in self.opened - self.written:
            if path in known or path.startswith(tuple(f"{k}{os.sep}" for k in known)) or path.endswith(".pyc"):
                continue
            name = os.path.relpath(path, self.project)
            digest = None if os.path.isdir(path) else inputs.digest(name)
            if not os.path.isdir(path):
                result.add(Discovered("file" if digest else "absent", name, digest or ""))
        for path in self.listed:
            name = os.path.relpath(path, self.project)
            if path not in known and (listing := inputs.listing(name)) is not None and not self._writes_in(path):
                result.add(Discovered("folder", name, listing))
        for path in self.searched - self.listed:
            name = os.path.relpath(path, self.project)
            if path not in known and (modules := inputs.modules(name)) is not None and not self._writes_in(path):
                result.add(Discovered("modules", name, modules))
        result |= {Discovered("glob", pattern, inputs.matching(pattern)) for pattern in reads}
        return tuple(sorted(result)), remarks

    def _writes_in(self, folder: str) -> bool:
        return any(os.path.dirname(path) == folder for path in self.written)


def imported_packages(distributions: Mapping[str, Sequence[str]]) -> set[Discovered]:
    """Return the installed distributions whose modules this process has imported; see `module_owners`."""
    names = {name.partition(".")[0] for name in list(sys.modules)}
    owners = {owner for name in names for owner in distributions.get(name, ())}
    return {Discovered("package", owner, installed_version(owner)) for owner in owners - {"onnxbuild"}}


def module_owners() -> Mapping[str, list[str]]:
    """Return which distributions deliver each top-level module; slow, so a worker asks once before it forks."""
    return importlib.metadata.packages_distributions()
