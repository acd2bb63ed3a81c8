"""Draws a project's pages from outcomes and traces, where what they show has changed; makes no facts of its own."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from onnxbuild import __version__
from onnxbuild.base.atomic import sweep_files, write_atomically
from onnxbuild.base.codec import decode, encode
from onnxbuild.base.digest import digest_bytes
from onnxbuild.base.seal import BrokenSealError, OtherFormatError, seal, unseal
from onnxbuild.engine.run import Options, Outcome, Run
from onnxbuild.plan.action import Plan, TargetPlan
from onnxbuild.plan.build import build_plan
from onnxbuild.recipe.history import read_history
from onnxbuild.recipe.lock import lock_path
from onnxbuild.recipe.types import Recipe
from onnxbuild.report.collect import collect
from onnxbuild.report.facts import DrawnRow
from onnxbuild.targets.judge import Judge
from onnxbuild.workplace import Workplace

KIND = "onnxbuild pages"
FORMAT = 3


class Drawn(msgspec.Struct, frozen=True):
    """What a recipe's page was drawn from, and its rows of the index."""

    digest: str
    rows: tuple[DrawnRow, ...]


def draw_if_changed(workplace: Workplace, plan: Plan, outcomes: Mapping[str, Outcome]) -> None:
    """Draw the pages that are not there, or were drawn from something else than this run came to, and the index.

    Only recipes that are loaded are looked at; of the others the pages stand, see targets.kept.
    """
    file = drawn_file(workplace)
    drawn = _read(file)
    wanted = _digests(plan, outcomes, Path(workplace.project.root))
    folder = Path(workplace.project.root, workplace.project.reports)
    stale = [
        recipe
        for recipe in workplace.recipes
        if recipe.name not in drawn
        or wanted.get(recipe.name, drawn[recipe.name].digest) != drawn[recipe.name].digest
        or not (folder / f"{recipe.name}.html").exists()
    ]
    redrawn = {recipe.name for recipe in stale}
    stands = {name: drawn[name] for name in workplace.order if name in drawn and name not in redrawn}
    if not stale and drawn.keys() == stands.keys() and (folder / "index.html").exists():
        return
    sweep_files(folder)  # of one who died while drawing
    file.unlink(missing_ok=True)  # who dies between two pages leaves pages of two builds: then all are drawn again
    rows = _draw(workplace, plan, outcomes, stale) if stale else {}
    found = stands | {name: Drawn(wanted.get(name, ""), own) for name, own in rows.items()}
    _write(file, _write_index(workplace, found))


def prepare_to_draw() -> None:
    """Load what draws pages, while something else takes its time."""
    from onnxbuild.report.render import load_templates

    load_templates()


def drawn_file(workplace: Workplace) -> Path:
    """Return the file that holds what the pages were drawn from."""
    return workplace.places.state / "pages.json"


def draw(workplace: Workplace) -> str:
    """Draw every page from what would be decided now and return the index's path, relative to the project."""
    rows = _draw(workplace, Plan(), {}, workplace.recipes)
    _write_index(workplace, {name: Drawn("", own) for name, own in rows.items()})
    return f"{workplace.project.reports}/index.html"


def _draw(
    workplace: Workplace, plan: Plan, outcomes: Mapping[str, Outcome], recipes: Sequence[Recipe]
) -> dict[str, tuple[DrawnRow, ...]]:
    """Draw some recipes' pages and return their rows of the index.

    They show `outcomes` of this run, and for all else of theirs what would be decided now.
    """
    from onnxbuild.report.write import draw_rows, write_pages  # brings jinja2; what draws nothing does without

    targets = {target.name for recipe in recipes for target in recipe.targets}
    if not targets <= {target.target.name for target in plan.targets if not target.support}:
        plan = build_plan(workplace.recipes, targets)
    known = {name: outcome for name, outcome in outcomes.items() if name in plan.actions}
    if known.keys() != plan.actions.keys():
        plan = replace(plan, actions={**plan.actions, **plan.explaining})
        known = Run(
            plan, workplace.store, workplace.places, Options(dry_run=True), lambda _: None, outcomes=known
        ).execute()
        unknown = [name for name in plan.explaining if known[name].trace is None]
        plan = replace(plan, actions={name: a for name, a in plan.actions.items() if name not in unknown})
    judge, root = Judge(plan, known), Path(workplace.project.root)
    parts = _by_recipe(plan)
    history = read_history(root, [recipe.file for recipe in recipes])
    pages = [collect(r, parts[r.name], known, judge, root, workplace.project.output, history) for r in recipes]
    write_pages(pages, root / workplace.project.reports)
    return {page.name: tuple(draw_rows([page])) for page in pages}


def _write_index(workplace: Workplace, drawn: Mapping[str, Drawn]) -> dict[str, Drawn]:
    """Write the index and return what it was drawn from: rows with the columns that all of them need together."""
    from onnxbuild.report.write import align_rows, write_index

    found = [drawn[name] for name in workplace.order if name in drawn]
    rows = iter(align_rows([row for each in found for row in each.rows]))
    aligned = {
        name: msgspec.structs.replace(drawn[name], rows=tuple(itertools.islice(rows, len(drawn[name].rows))))
        for name in workplace.order
        if name in drawn
    }
    write_index(
        [row for each in aligned.values() for row in each.rows], Path(workplace.project.root, workplace.project.reports)
    )
    return aligned


def _by_recipe(plan: Plan) -> dict[str, Plan]:
    """Return of each recipe its targets with their actions."""
    targets: dict[str, list[TargetPlan]] = {}
    for target in plan.targets:
        targets.setdefault(target.target.recipe, []).append(target)
    actions: dict[str, dict[str, None]] = {recipe: {} for recipe in targets}
    owner = {target.target.name: target.target.recipe for target in plan.targets}
    for action in plan.actions.values():
        for name in action.targets:
            if name in owner:
                actions[owner[name]][action.name] = None
    return {
        recipe: Plan({name: plan.actions[name] for name in actions[recipe]}, tuple(own))
        for recipe, own in targets.items()
    }


def _digests(plan: Plan, outcomes: Mapping[str, Outcome], root: Path) -> dict[str, str]:
    """Return of each recipe what its page is drawn from: its targets, the traces of their actions, and its lock."""
    digests = {}
    for recipe, part in _by_recipe(plan).items():
        settled = [(name, outcomes[name]) for name in part.actions if name in outcomes]
        traces = [(name, _identity(o)) for name, o in settled]
        lock = _lock(root, part.targets[0].target.file) if part.targets else ""
        digests[recipe] = digest_bytes(encode([__version__, [target.target for target in part.targets], traces, lock]))
    return digests


def _lock(root: Path, recipe: str) -> str:
    """Return the digest of the recipe's text where it has a lock, which knows another one, and of the lock."""
    try:
        lock = (root / lock_path(recipe)).read_bytes()
        return digest_bytes(lock + (root / recipe).read_bytes())
    except OSError:
        return ""


def _identity(outcome: Outcome) -> str:
    """Return what tells an outcome from others; a forced action may have found something else under the same key."""
    if outcome.trace is None:
        return outcome.status.value
    return f"{outcome.trace.id} {digest_bytes(bytes(outcome.trace.facts))}"


def _read(file: Path) -> dict[str, Drawn]:
    """Return of each recipe what was drawn last; nothing when that is lost or altered."""
    try:
        return decode(unseal(file.read_bytes(), KIND, FORMAT), dict[str, Drawn])
    except (OSError, BrokenSealError, OtherFormatError, msgspec.MsgspecError):
        return {}


def _write(file: Path, drawn: Mapping[str, Drawn]) -> None:
    write_atomically(file, seal(encode(drawn), KIND, FORMAT), durable=False)
