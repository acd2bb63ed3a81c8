"""How a target's session was chosen: every configuration that was tried, and whether its gain was beyond chance."""

from __future__ import annotations

from dataclasses import dataclass

from onnxbuild.proof.tuning import Tried
from onnxbuild.recipe.types import Session
from onnxbuild.report.pages.table import Cell, Column, Row, Table, cap_rows
from onnxbuild.stages.tune import TuneFacts

_OBJECTIVES = {"latency": "the least latency", "throughput": "the most rows a second", "memory": "the least memory"}
_NAMES = {
    "intra_op_threads": "threads",
    "graph_optimization": "graph optimisation",
    "memory_pattern": "memory pattern",
    "cpu_arena": "arena",
}


@dataclass(frozen=True)
class Tuning:
    """What was chosen and why, then all that was tried."""

    sentence: str
    table: Table


def tuning(facts: TuneFacts | None) -> Tuning | None:
    """Return how the session was chosen; None where the recipe settles it."""
    if facts is None:
        return None
    goal = f"for {_OBJECTIVES[facts.objective]} with a batch of {facts.batch}"
    if facts.from_lock:
        sentence = f"Chosen {goal} when it was accepted, so nothing was tried: {session_text(facts.session)}."
        row = Row((Cell("from the lock"), Cell(session_text(facts.session)), Cell(facts.machine)))
        heads = (Column("Chosen"), Column("Session"), Column("For machines such as"))
        return Tuning(sentence, Table("From the lock", heads, (row,)))
    if facts.absent is not None:
        sentence = f"Not tuned {goal}: {facts.absent}."
    elif facts.tried and facts.tried[-1].last and facts.session == facts.tried[-1].session:
        sentence = f"Chosen by measurement {goal}: {session_text(facts.session)}."
    else:
        sentence = f"What the recipe and the runtime say by themselves stays {goal}: no gain was beyond chance."
    columns = (
        Column("Tried"),
        Column("Against"),
        Column("Gain", "num"),
        Column("Least to most" if facts.objective == "memory" else "99% interval", "num"),
        Column("Beyond chance"),
    )
    rows, shown = cap_rows([Row(_cells(one)) for one in facts.tried])
    return Tuning(sentence, Table("Configurations tried", columns, rows, shown, empty="Nothing was tried."))


def session_text(session: Session) -> str:
    """Return a session's settings in words, such as "threads 2, arena off"; "defaults" for none."""
    told = {name: getattr(session, name) for name in _NAMES if getattr(session, name) is not None}
    words = {True: "on", False: "off"}
    texts = [f"{_NAMES[name]} {words[v] if isinstance(v, bool) else v}" for name, v in told.items()]
    return ", ".join(texts) or "defaults"


def _cells(one: Tried) -> tuple[Cell, ...]:
    gain, last = one.gain, "the winner, once more" if one.last else ""
    high = f"{gain.high:.3f}x" if gain.high is not None else "not known"
    return (
        Cell(session_text(one.session), note=last),
        Cell(session_text(one.against)),
        Cell(f"{gain.value:.3f}x", sort=str(gain.value)),
        Cell(f"{gain.low:.3f}x to {high}"),
        Cell("yes" if gain.low > 1 else "worse" if gain.high is not None and gain.high < 1 else "no"),
    )
