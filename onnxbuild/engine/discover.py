"""What user code depends on beyond what the recipe names, found by watching it; knows nothing of keys.

Sights are collected by audit.py (Python's own events), native_readers.py (libraries that raise none) and imports.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from onnxbuild.base.diagnostics import Remark, StageFailure
from onnxbuild.engine.audit import Audit
from onnxbuild.engine.findings import CHANGED, Declared, Findings, outside_reads
from onnxbuild.engine.imports import Imports
from onnxbuild.engine.inputs import Inputs
from onnxbuild.engine.job import READ_OUTSIDE
from onnxbuild.engine.journal import Journal, Sight
from onnxbuild.engine.native_readers import MODULES, External, NativeReaders
from onnxbuild.engine.packages import Owners, Packages, module_owners
from onnxbuild.engine.territory import Territory
from onnxbuild.store.traces import Discovered

MOST = 100_000
"""Files that one trace holds by name; who reads more names them by patterns under `reads`."""

SHOWN = 5
"""Names that a warning lists before it says how many more there are."""


class Watch:
    """Collects what this process and its forks read and import, from `start` on.

    `hidden` are folders whose files are never inputs; `external` names the external data of an ONNX file.
    """

    def __init__(self, project: Path, hidden: Iterable[str], scratch: Path, external: External = lambda _: ()) -> None:
        hidden = (*hidden, str(scratch))
        self._territory = Territory(str(project), hidden)
        self._inputs = Inputs(project, Path(os.devnull), hidden)
        self._journal = Journal(str(scratch / "sights"))
        self._imports = Imports(self._territory, self._journal, MODULES, lambda module: self._readers.wrap(module))
        self._audit = Audit(self._territory, self._journal, self._imports.is_by_user)
        self._readers = NativeReaders(self._audit, self._imports.is_by_user, external)
        self._started = False

    def start(self, *, trusts_file: bool = False) -> None:
        """Watch from now on; it cannot be stopped. `trusts_file`: the stage opens a file that runs code."""
        self._journal.open()
        self._readers.start()
        self._imports.start(trusts_file=trusts_file)
        self._audit.start()
        self._started = True

    def add(self, paths: Iterable[Path], modules: Iterable[str] = ()) -> None:
        """Add files that the stage itself has read, and modules that they made it import."""
        for path in paths:
            self._audit.see(Sight.OPENED, path)
        for module in modules:
            self._journal.note(Sight.IMPORTED, module)

    def found(self, declared: Declared, owners: Owners | None = None) -> tuple[tuple[Discovered, ...], list[Remark]]:
        """Return what was discovered, less what is declared, and remarks.

        Raises StageFailure when there is more than a trace can hold (`too-many-reads`) or a name that it cannot
        (`name-not-text`), or when something outside the project was read and `declared.strict` forbids it
        (`read-outside-project`).
        """
        code: set[str] = set()
        packages: set[Discovered] = set()
        if self._started:
            self._journal.collect()
            self.see_modules()
        findings = Findings(self._territory, self._journal, self._inputs, declared)
        result = set(findings.files())
        if len(result) > MOST:
            raise StageFailure(
                "too-many-reads",
                f"user code read {len(result)} files, more than the {MOST} that are recorded by name",
                hint="name them by patterns under `reads` of the source, such as `reads: [images/*.png]`",
            )
        result |= {*findings.folders(), *findings.globs(), *findings.misses()}
        result |= {*findings.places(result)}
        for name in sorted(item.name for item in result if not _is_text(item.name)):
            message = f"user code reads {name!a}, a name that is not UTF-8 and cannot be recorded"
            raise StageFailure("name-not-text", message, hint="rename it")
        if self._started or self._journal.names(Sight.IMPORTED):
            packages, code = findings.modules(Packages(owners if owners is not None else module_owners()))
        outside = outside_reads(result - packages, code, findings.matched, self._territory)
        if outside and declared.strict:
            raise StageFailure(READ_OUTSIDE, _outside(outside), hint=f"{_MEND_OUTSIDE}, or drop strict_reads")
        result |= packages
        return tuple(sorted(result)), list(self._remarks(findings, result, outside, declared))

    def see_modules(self) -> None:
        """Note the source files of all modules that are there now, and which names were found at all.

        A process that the stage forked calls it before it leaves.
        """
        if not self._started:
            return
        for name, module in list(sys.modules.items()):
            self._journal.note(Sight.FOUND, name)
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and self._territory.is_project_file(file):
                self._audit.see(Sight.OPENED, file)

    def _remarks(
        self, findings: Findings, found: Iterable[Discovered], outside: list[str], declared: Declared
    ) -> Iterator[Remark]:
        for name in findings.both_ways():
            yield Remark("written-and-read", f"{name} is both written and read by user code: no input")
        for item in sorted(found):
            if item.digest == CHANGED:
                yield Remark(
                    "changed-while-read", f"{item.name} changed while user code ran: the next make runs it again"
                )
        if outside:
            yield Remark(READ_OUTSIDE, f"{_outside(outside)}; {_MEND_OUTSIDE}")
        unseen = sorted(self._journal.names(Sight.UNSEEN))
        if unseen and not declared.reads:
            yield Remark(
                "unseen-reads",
                f"user code {_listed(unseen)}, and which files that reads is not seen; name them under `reads`",
            )


def _is_text(name: str) -> bool:
    return name.encode(errors="replace").decode() == name


_MEND_OUTSIDE = "keep such files in the project, or name them under `reads` of the source"


def _outside(names: list[str]) -> str:
    return f"user code reads {_listed(names)}, outside the project"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
