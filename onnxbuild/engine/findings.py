"""From sights to discovered inputs with their digests, as they are when user code has ended; imports nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from onnxbuild.base.digest import digest_file
from onnxbuild.engine.inputs import PLACE, Inputs
from onnxbuild.engine.journal import Journal, Sight, signature_of
from onnxbuild.engine.packages import Packages, named_imports
from onnxbuild.engine.territory import Territory, is_outside
from onnxbuild.store.traces import Discovered

NAMED = 1000
"""Files that `reads` matches are recorded by name too, for people, when they are not more than this."""

CHANGED = "changed while it was read"
"""Stands for a digest that no file has: the action runs again."""


@dataclass(frozen=True)
class Declared:
    """What the recipe itself names: `files` are absolute paths that are keyed, `reads` globs from the project."""

    files: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    strict: bool = False


class Findings:
    """The inputs that one journal's sights amount to, less those that the recipe declares."""

    def __init__(self, territory: Territory, journal: Journal, inputs: Inputs, declared: Declared) -> None:
        self._territory, self._journal, self._inputs, self._declared = territory, journal, inputs, declared
        self._keyed = {name for path in declared.files if (name := territory.name(path)) is not None}
        self._written = journal.names(Sight.WRITTEN)
        self.matched = {name for pattern in declared.reads for name in inputs.match(pattern)}

    def files(self) -> Iterator[Discovered]:
        """Yield the files that were opened or asked for, and those that were not there."""
        opened = self._journal.names(Sight.OPENED)
        named = self.matched if len(self.matched) <= NAMED else set()
        for name in ((opened | self._journal.names(Sight.PROBED)) - self.matched - self._written) | named:
            if self._is_keyed(name) or "__pycache__" in name.split("/") or name.rpartition("/")[2].startswith("<"):
                continue
            found = self._file(name, is_opened=name in opened or name in named)
            if found is not None:
                yield found

    def folders(self) -> Iterator[Discovered]:
        """Yield the folders that were listed, but for those that user code itself writes into."""
        filled = {os.path.dirname(name) or "." for name in self._written}
        for name in self._journal.names(Sight.LISTED) - filled:
            if not self._is_keyed(name) and not is_outside(name) and (names := self._inputs.listing(name)) is not None:
                yield Discovered("folder", name, names)

    def places(self, found: Collection[Discovered]) -> Iterator[Discovered]:
        """Yield the folders that were asked for and are there, less those of which `found` tells more."""
        told = {item.name for item in found if item.kind == "folder"}
        for item in found:
            if item.kind == "file":
                told |= {item.name[:at] for at, letter in enumerate(item.name) if letter == "/"}
        asked = self._journal.names(Sight.PROBED) | self._journal.names(Sight.OPENED)
        for name in asked - told - self._written:
            inside = not is_outside(name) and name != "." and "__pycache__" not in name.split("/")
            if inside and not self._is_keyed(name) and os.path.isdir(self._territory.path(name)):
                yield Discovered("place", name, PLACE)

    def misses(self) -> Iterator[Discovered]:
        """Yield the files of modules that the project does not have, and whose making would change an import.

        What a library found elsewhere is left out: for it the project's folders are but a station on the way.
        """
        found = self._journal.names(Sight.FOUND)
        missed = self._journal.names(Sight.MISSED)
        missed |= {line for line in self._journal.names(Sight.PASSED) if line.partition(" ")[0] not in found}
        for line in missed:
            name = line.partition(" ")[2]
            if name not in self._written and not os.path.lexists(self._territory.path(name)):
                yield Discovered("absent", name, "")

    def modules(self, packages: Packages) -> tuple[set[Discovered], set[str]]:
        """Return the packages that user code has imported with modules that none has installed; and these' files."""
        names = self._journal.names(Sight.IMPORTED)
        for file in {*self._declared.files, *map(self._territory.path, self._journal.names(Sight.OPENED))}:
            if file.endswith(".py") and self._territory.is_project_file(file) and os.path.isfile(file):
                names |= named_imports(Path(file).read_bytes())
        result, loose = packages.sort(names)
        loose = {file for file in loose if not self._territory.is_project_file(file)}
        for file in loose:
            result.add(Discovered("file", self._territory.relative(file), digest_file(Path(file))))
        return result, loose

    def globs(self) -> Iterator[Discovered]:
        """Yield the patterns that the recipe lists under `reads`."""
        for pattern in self._declared.reads:
            yield Discovered("glob", pattern, self._inputs.matching(pattern))

    def both_ways(self) -> list[str]:
        """Return the files that user code both writes and reads."""
        return sorted(self._written & self._journal.names(Sight.OPENED))

    def _file(self, name: str, *, is_opened: bool) -> Discovered | None:
        path = self._territory.path(name)
        try:
            mode = os.stat(path).st_mode  # named by text, like everything here
            if not stat.S_ISREG(mode) or (is_outside(name) and not is_opened):
                return None
            before = self._journal.signature(Sight.OPENED, name)
            digest = digest_file(Path(path))
        except (FileNotFoundError, NotADirectoryError):
            return None if is_outside(name) else Discovered("absent", name, "")
        except OSError:
            return None  # user code could not read it either
        return Discovered("file", name, digest if before in (None, signature_of(path)) else CHANGED)

    def _is_keyed(self, name: str) -> bool:
        return name in self._keyed or any(name.startswith(f"{folder}/") for folder in self._keyed)


def outside_reads(
    found: Iterable[Discovered], code: Collection[str], named: Collection[str], territory: Territory
) -> list[str]:
    """Return the files outside the project that were read and are not `named`.

    Loose modules (`code`) and what lies in their packages are not among them.
    """
    folders = tuple(f"{os.path.dirname(file)}/" for file in code if os.path.basename(file) == "__init__.py")
    names = (item.name for item in found if item.kind == "file" and is_outside(item.name) and item.name not in named)
    return sorted(n for n in names if (path := territory.path(n)) not in code and not path.startswith(folders))
