"""A loaded project with a selection of its targets: settings, recipes, places, store; runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onnxbuild.base.diagnostics import Diagnostic, Severity, UserError
from onnxbuild.engine.options import Places
from onnxbuild.plan.action import TargetPlan
from onnxbuild.plan.build import build_plan
from onnxbuild.recipe.cache import RecipeCache
from onnxbuild.recipe.load import load_recipes
from onnxbuild.recipe.project import load_project
from onnxbuild.recipe.types import Project, Recipe
from onnxbuild.store.store import Store
from onnxbuild.store.traces import FORMAT as TRACE_FORMAT
from onnxbuild.targets.kept import Kept, standing

CACHE = ".onnxbuild/state/recipes.msgpack"


@dataclass(frozen=True)
class Workplace:
    """A loaded project: its settings, its sound recipes, the names of the targets selected, and warnings.

    `order` and `files` are names and files of all recipes, as they come in the project. `read` are the files that were
    looked at, by recipe, `flawed` the recipes of which something was said, `is_sound` tells that no recipe has an
    error; see Loaded. `before` has what stands of the last good make, and then `recipes` are those that do not.
    """

    project: Project
    recipes: tuple[Recipe, ...]
    selected: tuple[str, ...]
    warnings: tuple[Diagnostic, ...] = ()
    order: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    read: dict[str, tuple[str, ...]] = field(default_factory=dict)
    flawed: frozenset[str] = frozenset()
    is_sound: bool = False
    before: Kept | None = None

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
    cache = RecipeCache(root, root / CACHE)
    return _open(cache.project or load_project(root), patterns, cache, None)


def open_changed(root: Path, patterns: Sequence[str], chosen: tuple[str, ...]) -> Workplace:
    """Load what differs since the last good make of a selection, and of the rest what that make came to.

    In doubt everything is loaded, as `open_project` does it.
    """
    cache = RecipeCache(root, root / CACHE)
    if cache.project is not None:
        before = standing(root, chosen, Store(root / cache.project.store))
        if before is not None:
            workplace = _open(cache.project, patterns, cache, before)
            plan = build_plan(workplace.recipes, ())
            if before.roots.isdisjoint(root for group in plan.groups for root in group.roots):
                return workplace
            cache = RecipeCache(root, root / CACHE)
    return _open(cache.project or load_project(root), patterns, cache, None)


def _open(project: Project, patterns: Sequence[str], cache: RecipeCache, before: Kept | None) -> Workplace:
    known = {recipe.file: (recipe.name, recipe.variants) for recipe in before.recipes.values()} if before else {}
    loaded = load_recipes(project, patterns, cache=cache, standing=known, among=before.files if before else None)
    errors = [d for d in loaded.diagnostics if d.severity is Severity.ERROR]
    if errors:
        raise UserError(loaded.diagnostics)
    workplace = Workplace(
        project,
        loaded.recipes,
        loaded.selected,
        tuple(loaded.diagnostics),
        order=loaded.order,
        files=loaded.files,
        read=loaded.read,
        flawed=loaded.flawed,
        is_sound=loaded.is_sound,
        before=before,
    )
    if (newer := workplace.store.traces.newer_format()) is not None:
        note = f"its records have format {newer}, this version knows {TRACE_FORMAT}"
        hint = "update onnxbuild, or name another folder with `store:` in onnxbuild.yaml"
        message = f"the store {project.store} was written by a newer onnxbuild"
        raise UserError(Diagnostic(code="newer-store", message=message, note=note, hint=hint))
    return workplace
