"""Which layers an error is due to, what restoring them costs, and what repair tried; measures and ranks nothing."""

from __future__ import annotations

from dataclasses import dataclass

from onnxbuild.report import budget, numbers
from onnxbuild.report.facts import ReportFacts, TargetFacts
from onnxbuild.report.pages.table import Cell, Column, Row, Table, cap_rows
from onnxbuild.stages.blame import BlameFacts, Culprit
from onnxbuild.stages.proving import Score
from onnxbuild.stages.repair import RepairFacts, TriedFacts, describe_choice

CULPRITS = 20
"""Rows of culprits on a page."""
TRIED = 12
"""Rows of tried choices on a page: the nearest to the tolerance."""


@dataclass(frozen=True)
class Part:
    """One table with a sentence before it."""

    sentence: str
    table: Table


def culprits(target: TargetFacts) -> Part | None:
    """Return the ranking of layers; None where nothing was ranked."""
    facts = target.blame
    if facts is None or not facts.layers:
        return None
    columns = (
        Column("Kept in float"),
        Column("Source", "limit"),
        Column("Tolerance used", "num"),
        Column("Gain", "num"),
        Column("SQNR", "num"),
        Column("Model grows by", "num"),
    )
    rows, shown = cap_rows((Row(_culprit(culprit)) for culprit in facts.culprits), len(facts.culprits), CULPRITS)
    table = Table("Culprits", columns, rows, shown, empty="No layer could be restored.", hide_caption=True)
    return Part(_ranked(facts), table)


def repair(target: TargetFacts) -> Part | None:
    """Return what repair did and tried; None where there was none."""
    facts = next((step.repair for step in target.steps if step.repair is not None), None)
    if facts is None:
        return None
    columns = (Column("Choice", "limit"), Column("Tolerance used", "num"), Column("SQNR", "num"), Column("Meets it"))
    best = sorted(facts.tried, key=lambda tried: _use(tried.score))
    rows, shown = cap_rows((Row(_tried(tried, facts)) for tried in best), len(facts.tried), TRIED)
    return Part(_repaired(facts), Table("What repair tried, the best first", columns, rows, shown))


def times(facts: ReportFacts) -> Table | None:
    """Return what keeping culprits in float costs in time, which differs from run to run."""
    rows = [
        Row((Cell(name=layer), Cell(target), Cell(f"{ratio:.2f}x")))
        for target, found in (facts.volatile.restored if facts.volatile is not None else {}).items()
        for layer, ratio in found.items()
    ]
    columns = (Column("Kept in float"), Column("Target"), Column("Time", "num"))
    return Table("What keeping a culprit in float costs in time", columns, tuple(rows)) if rows else None


def _ranked(facts: BlameFacts) -> str:
    layers = numbers.plural(facts.layers, "layer")
    groups = "" if all(len(c.layers) == 1 for c in facts.culprits) else ", some of them in groups"
    return (
        f"Each of {layers} alone was kept as it was in float{groups}, and the model measured again on "
        f"{numbers.plural(facts.samples, 'sample')} of the evaluation data. As it is the model uses "
        f"{_share(facts.base.use)} of its tolerance."
    )


def _culprit(culprit: Culprit) -> tuple[Cell, ...]:
    first, more = culprit.layers[0], len(culprit.layers) - 1
    where = culprit.file or ""
    if culprit.file is not None and culprit.line is not None:
        where = f"{culprit.file}:{culprit.line}"
    sign = "−" if culprit.bytes < 0 else "+"
    return (
        Cell(name=first, note=f"and the {more} after it" if more else "", title=", ".join(culprit.nodes)),
        Cell(where or culprit.module or numbers.NONE, note=culprit.module or "" if where else "", code=bool(where)),
        Cell(_share(culprit.score.use), sort=str(culprit.score.use)),
        Cell(_signed(culprit.gain), sort=str(culprit.gain)),
        Cell(_decibels(culprit.score), sort=str(culprit.score.sqnr_db)),
        Cell(f"{sign}{numbers.size(abs(culprit.bytes))}", sort=str(culprit.bytes)),
    )


def _repaired(facts: RepairFacts) -> str:
    search = f"{numbers.plural(len(facts.tried), 'choice')} measured on the evaluation data, from which it was chosen"
    if facts.screened is not None:
        search += f" (on {numbers.plural(facts.screened, 'sample')} of it first, on all where they met the tolerance)"
    stopped = f"; the search ended because {facts.stopped}" if facts.stopped else ""
    before, after = facts.before.gate or "nothing is limited", facts.after.gate
    if not facts.changed:
        if facts.before.meets:
            return f"Nothing to repair: {before}."
        return f"Nothing better was found than the recipe's settings: {before}; {search}{stopped}."
    verb = "Repaired" if facts.after.meets else "Not repaired; the best found"
    lock = " as the lock says" if facts.choice == facts.locked else ""
    what = describe_choice(facts.choice, facts.layers)
    return f"{verb}{lock}: {what}. Before: {before}. After: {after}. {search.capitalize()}{stopped}."


def _tried(tried: TriedFacts, facts: RepairFacts) -> tuple[Cell, ...]:
    chosen = " (chosen)" if tried.choice == facts.choice else ""
    text = f"{describe_choice(tried.choice, tried.layers)}{chosen}"
    if tried.score is None:
        return (Cell(text), Cell(numbers.NONE), Cell(numbers.NONE), Cell("could not be made"))
    score = tried.score
    return (
        Cell(text, title=", ".join(tried.choice.keep)),
        Cell(_share(score.use)),
        Cell(_decibels(score)),
        Cell("yes" if score.meets else "no"),
    )


def _use(score: Score | None) -> tuple[bool, float]:
    if score is None:
        return (True, float("inf"))
    return (not score.meets, float(score.use) if score.use != "nan" else float("inf"))


def _share(use: float | str) -> str:
    return budget.share_text(use) if isinstance(use, float | int) else "beyond measure"


def _signed(gain: float | str) -> str:
    if not isinstance(gain, float | int):
        return str(gain)
    return f"{'−' if gain < 0 else '+'}{budget.share_text(abs(gain))}"


def _decibels(score: Score) -> str:
    return f"{score.sqnr_db:.1f} dB" if isinstance(score.sqnr_db, float | int) else str(score.sqnr_db)
