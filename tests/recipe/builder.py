"""A small project on disk for tests of recipes; knows how to write files and to list what was found."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from onnxbuild.base.diagnostics import Diagnostic, Severity
from onnxbuild.recipe.load import Loaded, check_project
from onnxbuild.recipe.types import Target

SMALLEST = """\
format: 1
source: {framework: torch, factory: models/net.py:build}
inputs: {x: {dtype: float32, shape: [batch, 10]}}
outputs: [y]
dynamic_axes: {batch: {max: 64}}
"""


class ProjectFiles:
    """A project folder whose recipe is `recipes/a.yaml`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("recipes/models/net.py", "def build(**args):\n    return None\n")

    def write(self, path: str, content: str | bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def recipe(self, text: str, name: str = "a.yaml") -> None:
        self.write(f"recipes/{name}", dedent(text))

    def extend(self, text: str) -> None:
        """Write the smallest recipe and `text` below it, which begins on line 6."""
        self.recipe(SMALLEST + dedent(text))

    def load(self, *select: str) -> Loaded:
        return check_project(self.root, select)

    def target(self, variant: str = "default") -> Target:
        loaded = self.load()
        assert not loaded.diagnostics, loaded.diagnostics
        return next(t for t in loaded.targets if t.variant == variant)

    def found(self, *select: str) -> list[Diagnostic]:
        return list(self.load(*select).diagnostics)

    def places(self, *select: str) -> list[tuple[str, int, int]]:
        """Return code, line and column of each error."""
        errors = [d for d in self.found(*select) if d.severity is Severity.ERROR]
        assert all(d.place is not None for d in errors), errors
        return [(d.code, d.place.line, d.place.column) for d in errors if d.place is not None]

    def only(self) -> Diagnostic:
        """Return the one diagnostic there is."""
        found = self.found()
        assert len(found) == 1, found
        return found[0]
