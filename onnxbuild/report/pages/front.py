"""What auto chose, and among what: the candidates as a chart and a table, and in words when float32 wins."""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from onnxbuild.proof.measures import from_text
from onnxbuild.report import numbers
from onnxbuild.report.charts.front import Point
from onnxbuild.report.charts.front import front as draw
from onnxbuild.report.facts import TargetFacts
from onnxbuild.report.pages.table import Cell, Column, Row, Table
from onnxbuild.stages.auto import AutoFacts, CandidateFacts, describe_winner, name_of


@dataclass(frozen=True)
class Front:
    """The choice: a sentence, the drawing (None where latency was not measured), and the candidates."""

    sentence: str
    chart: Markup | None
    table: Table


def front(target: TargetFacts) -> Front | None:
    """Return what was chosen for a target; None where nothing was to choose."""
    facts = next((step.auto for step in target.steps if step.auto is not None), None)
    if facts is None:
        return None
    points = [_point(one, facts) for one in facts.candidates if one.score is not None and one.timing is not None]
    chart = draw(points, "Candidates by latency, use of the tolerance and size") if points else None
    said = describe_winner(facts)
    sentence = f"{said[0].upper()}{said[1:]}." if facts.choice.winner == "none" else f"Chosen: {said}."
    return Front(sentence, chart, _table(facts))


def _point(one: CandidateFacts, facts: AutoFacts) -> Point:
    assert one.score is not None
    assert one.timing is not None
    use, note = from_text(one.score.use), f"{numbers.size(one.score.bytes)}, {_milliseconds(one.timing.median)}"
    chosen = one.mode == facts.choice.winner
    return Point(
        name_of(one.mode),
        one.timing.lower,
        one.timing.median,
        one.timing.upper,
        math.inf if math.isnan(use) else use,
        one.score.bytes,
        "spent" if one.score.meets else "beyond",
        chosen,
        f"{name_of(one.mode)}: {note}, {numbers.percent(use)} of the tolerance",
    )


def _table(facts: AutoFacts) -> Table:
    columns = (
        Column("Candidate"),
        Column("Of the tolerance", "num"),
        Column("Size", "num"),
        Column("Median", "num", f"a call on {facts.provider}"),
        Column("Quartiles", "num"),
        Column("", "limit"),
    )
    rows = [Row(_cells(one, facts)) for one in facts.candidates]
    return Table("Candidates", columns, tuple(rows), hide_caption=True)


def _cells(one: CandidateFacts, facts: AutoFacts) -> tuple[Cell, ...]:
    score, timing = one.score, one.timing
    chosen = one.mode == facts.choice.winner
    said = [*(["chosen"] if chosen else []), *([one.dropped] if one.dropped else [])]
    said += [rung.instead for rung in one.tried]
    return (
        Cell(name_of(one.mode)),
        Cell(numbers.percent(from_text(score.use)) if score is not None else numbers.NONE),
        Cell(numbers.size(score.bytes) if score is not None else numbers.NONE),
        Cell(_milliseconds(timing.median) if timing is not None else numbers.NONE),
        Cell(
            f"{timing.lower:.3g} to {timing.upper:.3g} ms" if timing is not None else numbers.NONE,
            note=f"{timing.samples} samples" if timing is not None else "",
        ),
        Cell("; ".join(said)),
    )


def _milliseconds(value: float) -> str:
    return f"{value:.3g} ms"
