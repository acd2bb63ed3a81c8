"""By what installed or not a module is an input: its distribution's version, or its content; imports nothing."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from onnxbuild.engine.installed import installed_version
from onnxbuild.engine.territory import PACKAGES
from onnxbuild.store.traces import Discovered

Owners = Mapping[str, Sequence[str]]
"""Which distributions deliver each top-level module."""


def module_owners() -> Owners:
    """Return which distributions deliver each top-level module; slow, so a worker asks once before it forks."""
    return importlib.metadata.packages_distributions()


def named_imports(source: bytes) -> set[str]:
    """Return the full names of the modules that Python source imports anywhere, relative imports left out."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return set()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


class Packages:
    """Sorts modules into packages (by version), loose files (by content) and what is nobody's input."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self._files: dict[str, set[str]] = {}

    def sort(self, modules: Iterable[str]) -> tuple[set[Discovered], set[str]]:
        """Return the distributions of the modules, and the files of those that no distribution has installed.

        A module that was imported by a forked process only is looked for, not imported.
        """
        packages, loose = set(), set()
        for name in modules:
            top = name.partition(".")[0]
            file = None if top in sys.stdlib_module_names else _file_of(name)
            if file is None:
                continue
            owners = self._owners_of(top, file)
            if owners:
                packages |= {Discovered("package", owner, installed_version(owner)) for owner in owners}
            else:
                loose.add(file)
        return packages, loose

    def _owners_of(self, top: str, file: str) -> list[str]:
        """Return the distributions that have installed a file; an editable install leaves its files where they are."""
        if PACKAGES.isdisjoint(file.split(os.sep)):
            return []
        candidates = sorted(set(self._owners.get(top, ())))
        return candidates if len(candidates) < 2 else [c for c in candidates if file in self._installed(c)]

    def _installed(self, distribution: str) -> set[str]:
        if distribution not in self._files:
            self._files[distribution] = set(_installed_files(distribution))
        return self._files[distribution]


def _installed_files(distribution: str) -> Iterator[str]:
    found = importlib.metadata.distribution(distribution)
    for file in found.files or ():
        yield os.path.normpath(str(found.locate_file(file)))


def _file_of(name: str) -> str | None:
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        return os.path.normpath(file) if isinstance(file, str) else None
    if "." in name:
        return None  # an attribute, or a submodule whose package says enough
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return spec.origin if spec is not None and spec.has_location else None
