"""A loaded project with a selection of its targets: settings, recipes, places, store; runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxbuild.base.diagnostics import Diagnostic, Severity, UserError
from onnxbuild.engine.run import Places
from onnxbuild.plan.action import TargetPlan
from onnxbuild.recipe.cache import RecipeCache
from onnxbuild.recipe.load import load_recipes
from onnxbuild.recipe.project import load_project
from onnxbuild.recipe.types import Project, Recipe
from onnxbuild.store.store import Store
from onnxbuild.store.traces import FORMAT as TRACE_FORMAT


@dataclass(frozen=True)
class Workplace:
    """A loaded project: its settings, its sound recipes, the names of the targets selected, and warnings.

    `read` are the files that were looked at, `is_sound` tells that no recipe has an error; see Loaded.
    """

    project: Project
    recipes: tuple[Recipe, ...]
    selected: tuple[str, ...]
    warnings: tuple[Diagnostic, ...] = ()
    read: tuple[str, ...] = ()
    is_sound: bool = False

    @property
    def places(self) -> Places:
        """The project's folders, absolute."""
        root = Path(self.project.root)
        own = root / ".onnxbuild"
        hidden = (root / self.project.output, own, self.store.root, root / ".git")
        return Places(root, own / "state", own / "logs", own / "scratch", hidden)

    @property
    def store(self) -> Store:
        """The project's store."""
        return Store(Path(self.project.root) / self.project.store)

    def output(self, plan: TargetPlan) -> Path:
        """Return the folder that a target is delivered to."""
        return Path(self.project.root) / self.project.output / plan.target.recipe / plan.target.variant


def open_project(root: Path, patterns: Sequence[str] = ()) -> Workplace:
    """Load a project and select targets; raises UserError with everything that is wrong (exit code 2)."""
    cache = RecipeCache(root, root / ".onnxbuild/state/recipes.msgpack")
    project = cache.project or load_project(root)
    loaded = load_recipes(project, patterns, cache=cache)
    errors = [d for d in loaded.diagnostics if d.severity is Severity.ERROR]
    if errors:
        raise UserError(loaded.diagnostics)
    workplace = Workplace(
        project, loaded.recipes, loaded.selected, tuple(loaded.diagnostics), loaded.read, is_sound=loaded.is_sound
    )
    if (newer := workplace.store.traces.newer_format()) is not None:
        note = f"its records have format {newer}, this version knows {TRACE_FORMAT}"
        hint = "update onnxbuild, or name another folder with `store:` in onnxbuild.yaml"
        message = f"the store {project.store} was written by a newer onnxbuild"
        raise UserError(Diagnostic(code="newer-store", message=message, note=note, hint=hint))
    return workplace
