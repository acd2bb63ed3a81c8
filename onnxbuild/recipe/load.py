"""Recipe files to targets, with everything that is wrong with them; runs no user code and loads no framework."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from onnxbuild.base.diagnostics import Diagnostic, Place, Severity
from onnxbuild.recipe.cache import RecipeCache
from onnxbuild.recipe.lock import ENDING, lock_path
from onnxbuild.recipe.problems import Problems
from onnxbuild.recipe.project import FILE
from onnxbuild.recipe.select import select_targets
from onnxbuild.recipe.types import Project, ReadRecipe, Recipe, Target

if TYPE_CHECKING:
    from onnxbuild.recipe.checks import FileChecks
    from onnxbuild.recipe.settings import Defaults


@dataclass(frozen=True)
class Loaded:
    """What a call is about: every sound recipe, the names of the targets selected, and what was found wrong.

    A broken recipe that is not selected is one warning; with an error among them nothing may run. `order` and `files`
    are names and files of all recipes, `flawed` those of which something was said. `read` are by recipe its file and
    all that the checks looked at, relative to the project; `is_sound` tells that no recipe has an error, not even one
    that is not selected.
    """

    recipes: tuple[Recipe, ...]
    selected: tuple[str, ...]
    diagnostics: tuple[Diagnostic, ...]
    order: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    read: dict[str, tuple[str, ...]] = field(default_factory=dict)
    flawed: frozenset[str] = frozenset()
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
class _Found:
    """One recipe file and what is wrong with it; `looked_at` are the files that were read to tell."""

    read: ReadRecipe
    problems: Problems
    looked_at: tuple[str, ...]


def load_recipes(
    project: Project,
    select: Sequence[str] = (),
    *,
    files: bool = True,
    cache: RecipeCache | None = None,
    standing: Mapping[str, tuple[str, tuple[str, ...]]] | None = None,
    among: Sequence[str] | None = None,
) -> Loaded:
    """Load all recipes of the project and select targets by name or glob; none given selects all.

    `files` also checks what recipes name on disk: existence, pins, headers and NaN of data, functions in Python
    files. Problems are values in the result. With a `cache` only what differs is read, and nothing of the files in
    `standing`, whose recipes' names and variants it tells: they are selected but not in the result. `among` are all
    recipe files, where the caller knows that they are the same as before.
    """
    root = Path(project.root)
    reader = _Reader(root, files=files, cache=cache)
    known = standing or {}
    found = [
        reader.pass_over(name, *known[name]) if name in known else reader.read(root / name)
        for name in (_recipe_files(project) if among is None else among)
    ]
    for one in _same_names(found):
        others = [o.read.file for o in found if o.read.name == one.read.name and o.read.file != one.read.file]
        one.problems.error(
            "duplicate-name",
            f"two recipes are called '{one.read.name}'",
            one.read.name_place,
            note="also " + ", ".join(others),
            hint="names are unique in a project; give one another `name`",
        )
    chosen, errors = select_targets(select, {one.read.name: one.read.variants for one in found})
    diagnostics = [*reader.project_problems(), *errors]
    if not found and not errors:
        hint = "write one, or start with `onnxbuild init`"
        diagnostics.append(Diagnostic(code="no-recipes", message=f"no recipe matches {project.recipes}", hint=hint))
    asked = [one for one in found if one.read.name in chosen]
    diagnostics += _inherited(asked, reader)
    for one in found:
        diagnostics += _own(one) if one.read.name in chosen else _left_out(one)
    recipes = tuple(
        Recipe(name=read.name, file=read.file, description=read.description, targets=read.targets)
        for read in (one.read for one in found if not one.problems.has_errors)
        if read.file not in known
    )
    sound = {one.read.name for one in found if not one.problems.has_errors}
    selected = tuple(f"{recipe}:{v}" for recipe, variants in chosen.items() if recipe in sound for v in variants)
    if cache is not None:
        cache.save(project)
    return Loaded(
        recipes,
        selected,
        tuple(diagnostics),
        order=tuple(one.read.name for one in found),
        files=tuple(one.read.file for one in found),
        read={one.read.name: one.looked_at for one in found},
        flawed=frozenset(one.read.name for one in found if one.problems.diagnostics),
        is_sound=len(sound) == len(found),
    )


class _Reader:
    """Reads recipes, from the cache where nothing differs; what parses YAML is imported when the first is not there."""

    def __init__(self, root: Path, *, files: bool, cache: RecipeCache | None) -> None:
        self._root, self._files, self._cache = root, files, cache
        self._settings: tuple[Defaults, Problems] | None = None
        self._checks: FileChecks | None = None

    def read(self, path: Path) -> _Found:
        """Return one recipe."""
        known = self._cache.find(path.relative_to(self._root).as_posix()) if self._cache is not None else None
        return _Found(known[0], Problems(), known[1]) if known is not None else self._read_afresh(path)

    def pass_over(self, file: str, name: str, variants: tuple[str, ...]) -> _Found:
        """Return a recipe that is not read, because nothing about it has changed."""
        if self._cache is not None:
            self._cache.stand(file)
        return _Found(ReadRecipe(name, file, Place(file, 1, 1), "", variants, ()), Problems(), ())

    def project_problems(self) -> tuple[Diagnostic, ...]:
        """Return what is wrong with onnxbuild.yaml."""
        if self._cache is not None and self._cache.project is not None:
            return ()
        return self._read_settings()[1].diagnostics if (self._root / FILE).is_file() else ()

    def project_line(self, place: Place | None) -> str | None:
        """Return the line of onnxbuild.yaml at a place."""
        return self._read_settings()[1].line(place)

    def _read_settings(self) -> tuple[Defaults, Problems]:
        if self._settings is None:
            from onnxbuild.recipe.settings import read_project

            self._settings = read_project(self._root)[1:]
        return self._settings

    def _read_afresh(self, path: Path) -> _Found:
        from onnxbuild.recipe.checks import FileChecks
        from onnxbuild.recipe.read import read_recipe

        defaults, project_problems = self._read_settings()
        if self._files and self._checks is None:
            self._checks = FileChecks(self._root)
        if self._checks is not None:
            self._checks.begin(self._cache.sound(path.relative_to(self._root).as_posix()) if self._cache else ())
        before = time.time_ns()
        read, problems = read_recipe(path, self._root, defaults, self._checks)
        names = tuple(self._checks.seen) if self._checks is not None else ()
        flawless = not problems.diagnostics and not project_problems.diagnostics
        if self._cache is not None and self._checks is not None and flawless:
            self._cache.keep(read, before, names, self._checks.globs)
        return _Found(read, problems, (read.file, *names))


def _recipe_files(project: Project) -> list[str]:
    root = Path(project.root)
    return [p.relative_to(root).as_posix() for p in sorted(root.glob(project.recipes)) if p.is_file() or _is_lost(p)]


def _is_lost(path: Path) -> bool:
    """Tell whether a recipe's link leads nowhere: an error, and not one target less. Editors hide theirs."""
    return path.is_symlink() and not path.exists() and not path.name.startswith(".")


def _same_names(found: list[_Found]) -> list[_Found]:
    count: dict[str, int] = {}
    for one in found:
        count[one.read.name] = count.get(one.read.name, 0) + 1
    return [one for one in found if count[one.read.name] > 1]


def _own(one: _Found) -> list[Diagnostic]:
    return [d for d in one.problems.diagnostics if d.place is None or d.place.file != FILE]


def _inherited(found: Sequence[_Found], reader: _Reader) -> list[Diagnostic]:
    """Return what is wrong with the project's defaults in some recipes, each once with the recipes it is wrong in."""
    recipes: dict[Diagnostic, list[str]] = {}
    for one in found:
        for diagnostic in one.problems.diagnostics:
            if diagnostic.place is not None and diagnostic.place.file == FILE:
                recipes.setdefault(diagnostic, []).append(one.read.file)
    return [
        msgspec.structs.replace(
            diagnostic,
            context=reader.project_line(diagnostic.place),
            note="; ".join(filter(None, (diagnostic.note, _default_of(files)))),
        )
        for diagnostic, files in sorted(recipes.items(), key=lambda item: item[0].place or Place("", 0, 0))
    ]


def _default_of(files: Sequence[str]) -> str:
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"as a default of {files[0]}{more}; a recipe replaces a default with its own, or removes it with null"


def _left_out(one: _Found) -> list[Diagnostic]:
    """Say in one warning that a recipe which was not asked for is broken."""
    read = one.read
    errors = [d for d in one.problems.diagnostics if d.severity is Severity.ERROR]
    if not errors:
        return []
    count = "an error" if len(errors) == 1 else f"{len(errors)} errors"
    message = f"{read.file} has {count}; it was not asked for"
    hint = f"onnxbuild check {read.name}"
    return [Diagnostic(code="broken-recipe", message=message, hint=hint, severity=Severity.WARNING)]


def check_project(root: Path, select: Sequence[str] = ()) -> Loaded:
    """Check everything that files and tables tell about the project at `root`; raises nothing for what it finds.

    Unlike `load_project` followed by `load_recipes`, a broken onnxbuild.yaml does not hide problems of recipes.
    """
    from onnxbuild.recipe.settings import read_project

    project, _, _ = read_project(root)
    loaded = load_recipes(project, select)
    orphans = _locks_without_recipe(Path(project.root), loaded.files) if not select else ()
    return replace(loaded, diagnostics=(*loaded.diagnostics, *orphans))


def _locks_without_recipe(root: Path, files: Sequence[str]) -> Iterator[Diagnostic]:
    expected = {lock_path(file) for file in files}
    for folder in dict.fromkeys((root / file).parent for file in files):
        for lock in sorted(folder.glob("*" + ENDING)):
            name = lock.relative_to(root).as_posix()
            if name not in expected:
                yield Diagnostic(
                    code="stale-lock",
                    message="no recipe belongs to this lock",
                    place=Place(name, 1, 1),
                    hint="rename it with its recipe (`git mv`), or delete it",
                    severity=Severity.WARNING,
                )
