"""The project: its root, found from below, and its settings; knows nothing of what onnxbuild.yaml looks like."""

from __future__ import annotations

from pathlib import Path

from onnxbuild.base.diagnostics import Diagnostic, Severity, UserError
from onnxbuild.recipe.types import Project

FILE = "onnxbuild.yaml"


def find_root(start: Path) -> Path:
    """Return the nearest folder, from `start` upwards, that holds onnxbuild.yaml or recipes/; raises UserError."""
    start = start.resolve()
    if not start.is_dir():
        raise UserError(Diagnostic(code="no-project", message=f"there is no folder {start}"))
    for folder in (start, *start.parents):
        if (folder / FILE).is_file() or (folder / "recipes").is_dir():
            return folder
    message = f"no project here: neither {start} nor a folder above it has recipes/ or {FILE}"
    raise UserError(Diagnostic(code="no-project", message=message, hint="start one with `onnxbuild init`"))


def load_project(root: Path) -> Project:
    """Return the settings of the project at `root`; raises UserError with every problem of onnxbuild.yaml."""
    root = root.resolve()
    if not (root / FILE).is_file():
        return Project(root=str(root))
    from onnxbuild.recipe.settings import read_project  # brings yaml, which a project that is cached does without

    project, _, problems = read_project(root)
    if problems.has_errors:
        raise UserError(d for d in problems.diagnostics if d.severity is Severity.ERROR)
    return project
