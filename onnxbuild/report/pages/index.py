"""The index over all recipes: one row a target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from onnxbuild.proof.gates import Verdict
from onnxbuild.report import numbers
from onnxbuild.report.facts import IndexFacts, IndexRow
from onnxbuild.report.pages.latency import milliseconds
from onnxbuild.report.pages.providers import mark_providers
from onnxbuild.report.pages.table import Cell, Column, Mark, Row, Table, verdict_mark
from onnxbuild.report.pages.verdict import against
from onnxbuild.report.summary import waived_text

CAP = 1200
"""Rows on the page, so that it stays about a megabyte; the worst verdicts are kept."""


@dataclass(frozen=True)
class IndexPage:
    """Everything that the template of the index prints; `counts` are marks with how many targets bear them."""

    lead: str
    version: str
    counts: tuple[tuple[Mark, str], ...]
    table: Table
    twin: str


COLUMNS = (
    Column("Target"),
    Column("Verdict"),
    Column("Metric"),
    Column("Value", "num"),
    Column("vs source", "num"),
    Column("Size", "num"),
    Column("vs baseline", "num"),
    Column("Latency", "num", note="median call"),
    Column("Gates passed", "num"),
    Column("vs accepted", "told"),
    Column("Providers"),
    Column("Remark", "remark"),
)


def index_page(facts: IndexFacts, drawn: Mapping[str, Markup]) -> IndexPage:
    """Return the index page; `drawn` is the markup of rows that were drawn before, by target.

    What is not passed comes first where rows must be left out.
    """
    rows = list(facts.rows)
    if len(rows) > CAP:
        kept = sorted(range(len(rows)), key=lambda i: rows[i].verdict is Verdict.PASSED)[:CAP]
        rows = [rows[i] for i in sorted(kept)]
    shown = f"showing {len(rows):,} of {len(facts.rows):,}" if len(rows) < len(facts.rows) else ""
    table = Table("All targets", COLUMNS, tuple(_row(row, drawn) for row in rows), shown,
                  empty="No recipe has a target yet.", hide_caption=True, class_="index")  # fmt: skip
    marks = Counter(verdict_mark(row.verdict) for row in facts.rows)
    order = ("passed", "failed", "unverified", "missing")
    counts = tuple((mark, numbers.count(n)) for mark, n in sorted(marks.items(), key=lambda p: order.index(p[0].kind)))
    recipes = len({row.recipe for row in facts.rows})
    said = f"{numbers.plural(len(facts.rows), 'target')} of {numbers.plural(recipes, 'recipe')}"
    return IndexPage(said, facts.version, counts, table, "index.json")


def _row(row: IndexRow, drawn: Mapping[str, Markup]) -> Row:
    return Row(drawn=drawn[row.target]) if row.target in drawn else index_row(row)


def index_row(row: IndexRow) -> Row:
    """Return one target's row."""
    change = None
    if row.metric is not None and row.metric_model is not None and row.metric_source is not None:
        change = row.metric_model - row.metric_source
    name = row.metric or ""
    base = (row.baseline, round(row.bytes / row.size_ratio)) if row.baseline and row.bytes and row.size_ratio else None
    cells = (
        Cell(name=row.target, href=row.link),
        Cell(mark=verdict_mark(row.verdict), sort=str(list(Verdict).index(row.verdict)) if row.verdict else "9"),
        Cell(name.replace("_", " ") or numbers.NONE),
        Cell(
            numbers.metric_value(name, row.metric_model) if row.metric else numbers.NONE,
            sort=str(row.metric_model or ""),
        ),
        Cell(numbers.metric_change(name, change) if change is not None else numbers.NONE, sort=str(change or 0)),
        Cell(numbers.size(row.bytes), title=numbers.exact_size(row.bytes) or "", sort=str(row.bytes or 0)),
        Cell(against(base, row.bytes), sort=str(row.size_ratio or 0)),
        _latency(row),
        Cell(f"{row.gates_passed} of {row.gates}" if row.gates else numbers.NONE),
        Cell(name=row.accepted or numbers.NONE, note=waived_text(row.waived), fold=240),
        Cell(mark_providers(row.providers, row.unverified_providers) or numbers.NONE),
        Cell(name=row.trouble, fold=240),
    )
    return Row(cells)


def _latency(row: IndexRow) -> Cell:
    if row.latency is None:
        return Cell(numbers.NONE, sort="0")
    batch = f"batch {row.latency_batch}" if row.latency_batch != 1 else ""
    return Cell(milliseconds(row.latency), note=batch, sort=str(row.latency))
