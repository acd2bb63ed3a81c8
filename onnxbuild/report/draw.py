"""Draws a project's pages from outcomes and traces, where what they show has changed; makes no facts of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from onnxbuild import __version__
from onnxbuild.base.codec import decode, encode
from onnxbuild.base.digest import digest_bytes
from onnxbuild.engine.run import Options, Outcome, Run
from onnxbuild.engine.state import read_state, write_state
from onnxbuild.plan.action import Plan, TargetPlan
from onnxbuild.plan.build import build_plan
from onnxbuild.recipe.types import Recipe
from onnxbuild.report.collect import collect
from onnxbuild.report.facts import IndexFacts, IndexRow
from onnxbuild.targets.judge import Judge
from onnxbuild.workplace import Workplace


def draw_if_changed(workplace: Workplace, plan: Plan, outcomes: Mapping[str, Outcome]) -> None:
    """Draw the pages that are not there, or were drawn from something else than this run came to, and the index."""
    file = workplace.places.state / "pages.json"
    drawn: dict[str, str] = read_state(file)
    wanted = _digests(plan, outcomes)
    folder = Path(workplace.project.root, workplace.project.reports)
    rows = _index_rows(folder, drawn)
    stale = [
        recipe
        for recipe in workplace.recipes
        if drawn.get(recipe.name) is None
        or wanted.get(recipe.name, drawn[recipe.name]) != drawn[recipe.name]
        or recipe.name not in rows
        or not (folder / f"{recipe.name}.html").exists()
    ]
    redrawn = {recipe.name for recipe in stale}
    kept = {recipe.name: drawn[recipe.name] for recipe in workplace.recipes if recipe.name not in redrawn}
    if not stale and drawn.keys() == kept.keys():
        return
    write_state(file, kept)  # who dies between two pages leaves pages of two builds
    _draw(workplace, plan, outcomes, stale, [row for name in kept for row in rows[name]])
    write_state(file, kept | {recipe.name: wanted.get(recipe.name, "") for recipe in stale})


def draw(workplace: Workplace) -> str:
    """Draw every page from what would be decided now and return the index's path, relative to the project."""
    _draw(workplace, Plan(), {}, workplace.recipes, ())
    return f"{workplace.project.reports}/index.html"


def pages_of(workplace: Workplace) -> list[Path]:
    """Return the files of all pages, the index first."""
    folder = Path(workplace.project.root, workplace.project.reports)
    return [folder / "index.html", *(folder / f"{recipe.name}.html" for recipe in workplace.recipes)]


def _draw(
    workplace: Workplace,
    plan: Plan,
    outcomes: Mapping[str, Outcome],
    recipes: Sequence[Recipe],
    others: Sequence[IndexRow],
) -> None:
    """Draw some recipes' pages: `outcomes` of this run, and for all else of theirs what would be decided now."""
    from onnxbuild.report.write import write_reports  # brings jinja2, which a command that draws nothing does without

    targets = {target.name for recipe in recipes for target in recipe.targets}
    if not targets <= {target.target.name for target in plan.targets if not target.support}:
        plan = build_plan(workplace.recipes, targets)
    known = {name: outcome for name, outcome in outcomes.items() if name in plan.actions}
    walk = Run(plan, workplace.store, workplace.places, Options(dry_run=True), lambda _: None, outcomes=known)
    judge = Judge(plan, walk.outcomes)
    walk.execute()
    root = Path(workplace.project.root)
    parts = _by_recipe(plan)
    pages = [collect(r, parts[r.name], walk.outcomes, judge, root, workplace.project.output) for r in recipes]
    order = [recipe.name for recipe in workplace.recipes]
    write_reports(pages, root / workplace.project.reports, others, order)


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


def _digests(plan: Plan, outcomes: Mapping[str, Outcome]) -> dict[str, str]:
    """Return of each recipe what its page is drawn from: its targets and the traces of their actions."""
    digests = {}
    for recipe, part in _by_recipe(plan).items():
        settled = [(name, outcomes[name]) for name in part.actions if name in outcomes]
        traces = [(name, _identity(o)) for name, o in settled]
        digests[recipe] = digest_bytes(encode([__version__, [target.target for target in part.targets], traces]))
    return digests


def _identity(outcome: Outcome) -> str:
    """Return what tells an outcome from others; a forced action may have found something else under the same key."""
    if outcome.trace is None:
        return outcome.status.value
    return f"{outcome.trace.id} {digest_bytes(bytes(outcome.trace.facts))}"


def _index_rows(folder: Path, drawn: Mapping[str, str]) -> dict[str, list[IndexRow]]:
    """Return the rows of the index as it was drawn last, by recipe; none when it is gone or not ours."""
    rows: dict[str, list[IndexRow]] = {}
    if not drawn or not (folder / "index.html").exists():
        return rows
    try:
        index = decode((folder / "index.json").read_bytes(), IndexFacts)
    except (OSError, msgspec.MsgspecError):
        return rows
    for row in index.rows:
        rows.setdefault(row.recipe, []).append(row)
    return rows
