"""Recipe files to targets, with everything that is wrong with them; runs no user code and loads no framework."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from onnxbuild.base.diagnostics import Diagnostic, Place, Severity
from onnxbuild.recipe.build import build_target
from onnxbuild.recipe.checks import FileChecks, check_contract
from onnxbuild.recipe.draft import Draft
from onnxbuild.recipe.examine import examine
from onnxbuild.recipe.merge import merge
from onnxbuild.recipe.node import Node, find, key_place, plain
from onnxbuild.recipe.problems import Problems
from onnxbuild.recipe.project import Defaults, read_project
from onnxbuild.recipe.raw import NAME, RawRecipe
from onnxbuild.recipe.rebase import rebase
from onnxbuild.recipe.refuse import refuse_keys
from onnxbuild.recipe.select import select_targets
from onnxbuild.recipe.types import Project, Recipe, Target
from onnxbuild.recipe.yaml import load_yaml

DEFAULT_VARIANT = "default"


@dataclass(frozen=True)
class Loaded:
    """What a call is about: every sound recipe, the names of the targets selected, and what was found wrong.

    A broken recipe that is not selected is one warning; with an error among them nothing may run.
    `read` are the recipes and all that the checks looked at, relative to the project; `is_sound` tells that not even
    a recipe that is not selected has an error.
    """

    recipes: tuple[Recipe, ...]
    selected: tuple[str, ...]
    diagnostics: tuple[Diagnostic, ...]
    read: tuple[str, ...] = ()
    is_sound: bool = False

    @property
    def has_errors(self) -> bool:
        """Whether anything forbids running."""
        return any(d.severity is Severity.ERROR for d in self.diagnostics)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The selected targets, in the order of recipes and variants."""
        chosen = set(self.selected)
        return tuple(t for recipe in self.recipes for t in recipe.targets if t.name in chosen)


@dataclass(frozen=True)
class _Read:
    """One recipe file: its targets even where it has errors; `variants` None when even their names are unknown."""

    name: str
    file: str
    name_place: Place
    description: str
    variants: tuple[str, ...] | None
    targets: tuple[Target, ...]
    problems: Problems


def load_recipes(project: Project, select: Sequence[str] = (), *, files: bool = True) -> Loaded:
    """Load all recipes of the project and select targets by name or glob; none given selects all.

    `files` also checks what recipes name on disk: existence, pins, headers and NaN of data, functions in Python
    files. Problems are values in the result.
    """
    root = Path(project.root)
    _, defaults, project_problems = read_project(root)
    paths = sorted(path for path in root.glob(project.recipes) if path.is_file())
    checks = FileChecks(root) if files else None
    found = [_read(path, root, defaults, checks) for path in paths]
    for read in _same_names(found):
        read.problems.error(
            "duplicate-name",
            f"two recipes are called '{read.name}'",
            read.name_place,
            note="also " + ", ".join(o.file for o in found if o.name == read.name and o.file != read.file),
            hint="names are unique in a project; give one another `name`",
        )
    chosen, errors = select_targets(select, {read.name: read.variants for read in found})
    diagnostics = [*project_problems.diagnostics, *errors]
    if not found and not errors:
        hint = "write one, or start with `onnxbuild init`"
        diagnostics.append(Diagnostic(code="no-recipes", message=f"no recipe matches {project.recipes}", hint=hint))
    for read in found:
        diagnostics += read.problems.diagnostics if read.name in chosen else _left_out(read)
    recipes = tuple(
        Recipe(name=read.name, file=read.file, description=read.description, targets=read.targets)
        for read in found
        if not read.problems.has_errors
    )
    sound = {recipe.name for recipe in recipes}
    selected = tuple(f"{recipe}:{v}" for recipe, variants in chosen.items() if recipe in sound for v in variants)
    looked_at = (*(read.file for read in found), *(checks.seen if checks is not None else ()))
    return Loaded(recipes, selected, tuple(diagnostics), looked_at, is_sound=len(recipes) == len(found))


def _same_names(found: list[_Read]) -> list[_Read]:
    count: dict[str, int] = {}
    for read in found:
        count[read.name] = count.get(read.name, 0) + 1
    return [read for read in found if count[read.name] > 1]


def _left_out(read: _Read) -> list[Diagnostic]:
    """Say in one warning that a recipe which was not asked for is broken."""
    errors = [d for d in read.problems.diagnostics if d.severity is Severity.ERROR]
    if not errors:
        return []
    count = "an error" if len(errors) == 1 else f"{len(errors)} errors"
    message = f"{read.file} has {count}; it was not asked for"
    hint = f"onnxbuild check {read.name}"
    return [Diagnostic(code="broken-recipe", message=message, hint=hint, severity=Severity.WARNING)]


def _read(path: Path, root: Path, defaults: Defaults, checks: FileChecks | None) -> _Read:
    file = path.relative_to(root).as_posix()
    problems = Problems()
    start = Place(file, 1, 1)
    node = load_yaml(path, file, problems)
    if node is None:
        return _Read(path.stem, file, start, "", None, (), problems)
    examined = examine(node, RawRecipe, problems)
    broken = examined.broken | defaults.broken | refuse_keys(examined.root, problems)
    raw = msgspec.convert(plain(examined.root), RawRecipe)
    if raw.format is None and "format" not in broken:
        hint = "add `format: 1` as the first line"
        problems.error("missing-key", "the key 'format' is missing", examined.root.place, hint=hint)
    name, name_place = _name(raw, path, examined.root, problems)
    targets = []
    base = merge(rebase(defaults.node, os.path.relpath(root, path.parent)), _without_variants(examined.root))
    base = Node(base.entries, examined.root.place)
    layers = _variants(examined.root)
    for variant, layer in layers.items():
        merged = merge(base, layer) if layer is not None else base
        merged = Node(merged.entries, key_place(examined.root, ("variants", variant)) if layer else base.place)
        target_raw = msgspec.convert(plain(merged), RawRecipe)
        draft = Draft(merged, target_raw, problems, set(broken))
        target = build_target(draft, name, variant, file)
        unusable = frozenset(draft.broken)
        check_contract(draft, target, tuple(layers), unusable)
        if checks is not None:
            checks.check(draft, target, unusable)
        targets.append(target)
    return _Read(name, file, name_place, raw.description or "", tuple(layers), tuple(targets), problems)


def _name(raw: RawRecipe, path: Path, root: Node, problems: Problems) -> tuple[str, Place]:
    if raw.name is not None:
        return raw.name, key_place(root, ("name",))
    if not re.match(NAME, path.stem) and find(root, ("name",)) is None:
        message = f"the file's name '{path.stem}' cannot be the recipe's name"
        note = "names are of a-z, 0-9, '.', '_' and '-', begin with a letter or digit, and are not 'index'"
        problems.error("wrong-name", message, root.place, note=note, hint="add a `name`, or rename the file")
    return path.stem, root.place


def _without_variants(node: Node) -> Node:
    return Node({key: entry for key, entry in node.entries.items() if key != "variants"}, node.place)


def _variants(root: Node) -> dict[str, Node | None]:
    """Return the layer of each variant; a variant that is null changes nothing."""
    variants = find(root, ("variants",))
    if variants is None or not variants.entries:
        return {DEFAULT_VARIANT: None}
    return {
        name: entry.node if isinstance(entry.node.value, dict) else None for name, entry in variants.entries.items()
    }


def check_project(root: Path, select: Sequence[str] = ()) -> Loaded:
    """Check everything that files and tables tell about the project at `root`; raises nothing for what it finds.

    Unlike `load_project` followed by `load_recipes`, a broken onnxbuild.yaml does not hide problems of recipes.
    """
    project, _, _ = read_project(root)
    return load_recipes(project, select)
