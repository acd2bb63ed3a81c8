"""What a make depended on and delivered, as the stat records of a stamp; decides nothing and reads no content.

A file that changed after the make began may have been read before or after the change: then there is no evidence, and
the next make looks again. Files that the make itself wrote are recorded as they are.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from onnxbuild.base.digest import list_files
from onnxbuild.base.own_code import own_files
from onnxbuild.engine.inputs import Inputs
from onnxbuild.engine.installed import find_description, installed_version
from onnxbuild.plan.action import Action
from onnxbuild.stamp import FOLDER, Signature, Stamp, list_names, signature
from onnxbuild.store.traces import Discovered, Trace

TICK = 0.02
"""Seconds after which the clock of the file system has gone on."""


class Doubt(Exception):
    """Something changed while the make went on, or cannot be told by its stat record."""


@dataclass
class Evidence:
    """Stat records of the project at `root`, gathered after a make that began at `began` by the file system's clock."""

    root: Path
    began: int
    environment: dict[str, str | None] = field(default_factory=dict)
    files: dict[str, Signature | None] = field(default_factory=dict)
    folders: dict[str, tuple[Signature | None, str, bool]] = field(default_factory=dict)
    stores: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all that is recorded, as `stamp.differing` tells them; stores left out."""
        return (*self.files, *self.folders, *(f"${variable}" for variable in self.environment))

    def take(self, stamp: Stamp, names: Iterable[str]) -> None:
        """Add what a stamp has recorded under some names, and nobody has added yet."""
        for name in names:
            if name in stamp.files:
                self.files.setdefault(name, stamp.files[name])
            if name in stamp.folders:
                self.folders.setdefault(name, stamp.folders[name])
            if name.startswith("$") and name[1:] in stamp.environment:
                self.environment.setdefault(name[1:], stamp.environment[name[1:]])

    def join(self, other: Evidence) -> None:
        """Add all that another has; raises Doubt where it says otherwise."""
        for name, found in other.files.items():
            if self.files.setdefault(name, found) != found:
                raise Doubt(name)
        for name, (_, names, _) in other.folders.items():
            if self.folders.setdefault(name, other.folders[name])[1] != names:
                raise Doubt(name)
        for variable, value in other.environment.items():
            if self.environment.setdefault(variable, value) != value:
                raise Doubt(variable)

    def add_action(self, action: Action, trace: Trace, inputs: Inputs) -> None:
        """Add what an action was decided by; raises Doubt."""
        for name in action.files.values():
            self.add_tree(name)
        for found in trace.discovered:
            self._add_discovered(found, inputs)
        for variable in action.env:
            self.environment[variable] = os.environ.get(variable)

    def add_file(self, name: str) -> None:
        """Add a file or an absence that was read during the make; raises Doubt when it changed meanwhile."""
        if name not in self.files:
            found = signature(str(self.root / name))
            if found is not None and found[1] >= self.began:
                raise Doubt(name)
            self.files[name] = found

    def add_tree(self, name: str) -> None:
        """Add a file, or a folder with all that is below it."""
        if name in self.files or name in self.folders:
            return
        path = self.root / name
        if not path.is_dir():
            self.add_file(name)
            return
        self.add_folder(name, settled=True)
        for folder, below, _ in os.walk(path, followlinks=True):
            below[:] = [entry for entry in below if entry != "__pycache__"]
            for entry in below:
                self.add_folder(f"{folder}/{entry}", settled=True)
        for file in list_files(path):
            self.add_file(f"{name}/{file}")

    def add_folder(self, name: str, *, packages: bool = False, settled: bool = False) -> None:
        """Add the names in a folder, or its absence; `settled` raises Doubt when they changed during the make."""
        if name in self.folders:
            return
        path = str(self.root / name)
        seen = signature(path)  # before the names: what changes after it shows in one of the two
        names = list_names(path, packages=packages)
        if seen is None or names is None:
            self.files[name] = None
            return
        if settled and seen[1] >= self.began:
            raise Doubt(name)
        self.folders[name] = (seen if seen[1] < self.began else None, names, packages)

    def add_glob(self, pattern: str, *, settled: bool = False) -> None:
        """Add all folders that a glob looks into; the files that it matches are the caller's to add."""
        fixed, wild = [], pattern.split("/")
        while len(wild) > 1 and not set(wild[0]) & set("*?["):
            fixed.append(wild.pop(0))
        base = "/".join(fixed) or "."
        self.add_folder(base, settled=settled)
        if len(wild) > 1:
            for folder, below, _ in os.walk(self.root / base):
                for entry in below:
                    self.add_folder(os.path.relpath(f"{folder}/{entry}", self.root), settled=settled)

    def add_output(self, name: str) -> None:
        """Add a file or folder as this make has left it."""
        self.files[name] = signature(str(self.root / name))

    def add_store(self, store: Path) -> None:
        """Add that the store is there; what is in it shows when it is consumed."""
        for folder in (store, store / "blobs", store / "traces"):
            stat = folder.stat()
            self.stores[str(folder)] = (stat.st_ino, stat.st_dev)

    def add_packages(self, inputs: Inputs) -> None:
        """Add the installed distributions that were asked for, and onnxbuild's own code; raises Doubt."""
        for folder in sys.path[1:]:
            self.add_folder(folder, packages=True)
        for name in inputs.packages:
            if installed_version(name) != inputs.version(name):
                raise Doubt(name)
            if (description := find_description(name)) is not None:
                self.add_file(str(description))
        for file in own_files():
            self.add_file(file)

    def _add_discovered(self, found: Discovered, inputs: Inputs) -> None:
        match found.kind:
            case "file":
                self.add_file(found.name)
                return
            case "absent":
                if found.name not in self.files:
                    self.files[found.name] = signature(str(self.root / found.name))
                    if self.files[found.name] is not None:
                        raise Doubt(found.name)
                return
            case "package":
                return  # its version was asked for, see add_packages
            case "folder" | "place":
                self.add_folder(found.name)
            case "glob":
                self.add_glob(found.name)
                for name in inputs.match(found.name):
                    self.add_file(name)
            case _:
                raise Doubt(found.kind)
        if not inputs.is_current(found):
            raise Doubt(found.name)


def file_clock(root: Path) -> int:
    """Return the time, in ns, that the project's file system gives a file that is changed now; 0 when it is read-only.

    Not the process's clock: that of a network file system is another machine's.
    """
    try:
        folder = root / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        clock = folder / ".clock"
        clock.write_bytes(b"")
        os.utime(clock)
        return clock.stat().st_ctime_ns
    except OSError:
        return 0


def wait_for_tick(root: Path) -> None:
    """Wait until the file system's clock has gone on: what changes then has another time than what we wrote."""
    before = file_clock(root)
    end = time.monotonic() + TICK
    while before and file_clock(root) == before and time.monotonic() < end:
        time.sleep(0.001)
