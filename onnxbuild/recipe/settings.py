"""What onnxbuild.yaml says: the project's settings, the defaults of recipes, and what is wrong with them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from onnxbuild.base.diagnostics import Place
from onnxbuild.base.units import parse_duration, parse_size
from onnxbuild.recipe.examine import examine
from onnxbuild.recipe.node import Node, find, plain, value_place
from onnxbuild.recipe.problems import Problems
from onnxbuild.recipe.project import FILE
from onnxbuild.recipe.raw import RawProject
from onnxbuild.recipe.refuse import refuse_keys
from onnxbuild.recipe.types import Limits, Project
from onnxbuild.recipe.yaml import load_yaml


@dataclass(frozen=True)
class Defaults:
    """The `defaults` of onnxbuild.yaml: an empty mapping where there are none."""

    node: Node
    broken: set[str]


def read_project(root: Path) -> tuple[Project, Defaults, Problems]:
    """Return the settings, the defaults of recipes, and what is wrong with them."""
    problems = Problems()
    root = root.resolve()
    empty = Defaults(Node({}, Place(FILE, 1, 1)), set())
    if not (root / FILE).is_file():
        return Project(root=str(root)), empty, problems
    node = load_yaml(root / FILE, FILE, problems)
    if node is None:
        return Project(root=str(root)), empty, problems
    examined = examine(node, RawProject, problems)
    broken = examined.broken | refuse_keys(examined.root, problems, project=True)
    raw = msgspec.convert(plain(examined.root), RawProject)
    _check_paths(raw, examined.root, problems)
    limits = Limits()
    if raw.limits is not None:
        limits = Limits(
            memory=parse_size(raw.limits.memory) if raw.limits.memory is not None else None,
            time=parse_duration(raw.limits.time) if raw.limits.time is not None else None,
        )
    standard = Project(root=str(root))
    project = Project(
        root=str(root),
        recipes=raw.recipes or standard.recipes,
        reports=raw.reports or standard.reports,
        output=raw.output or standard.output,
        store=raw.store or standard.store,
        jobs=raw.jobs,
        limits=limits,
    )
    return project, Defaults(find(examined.root, ("defaults",)) or empty.node, broken), problems


def _check_paths(raw: RawProject, root: Node, problems: Problems) -> None:
    """Recipes, reports and outputs live inside the project, each in its own place; only the store may be shared."""
    for key in ("recipes", "reports", "output"):
        path = getattr(raw, key)
        if path is not None and (path.startswith(("/", "~")) or ".." in path.split("/")):
            message = f"`{key}` must be a path inside the project, not '{path}'"
            hint = f"write one from the project's root on, such as `{key}: {getattr(Project(root=''), key)}`"
            problems.error("path-outside", message, value_place(root, (key,)), hint=hint)
    for key in ("reports", "output", "store"):
        path = getattr(raw, key)
        if path is not None and os.path.normpath(path) in (".", "recipes", ".git"):
            message = f"`{key}` must be a folder of its own, not '{path}'"
            problems.error("wrong-value", message, value_place(root, (key,)))
    if raw.reports is not None and raw.output is not None and Path(raw.reports) == Path(raw.output):
        problems.error("wrong-value", "`reports` and `output` must differ", value_place(root, ("reports",)))
