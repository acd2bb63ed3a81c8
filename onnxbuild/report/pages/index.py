"""The index over all recipes: one row a target."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from onnxbuild.base.codec import encode
from onnxbuild.proof.gates import Verdict
from onnxbuild.report import numbers
from onnxbuild.report.charts.spark import spark
from onnxbuild.report.facts import IndexFacts, IndexLatency, IndexRow
from onnxbuild.report.pages.providers import mark_providers
from onnxbuild.report.pages.table import Cell, Column, Mark, Row, Table, verdict_mark
from onnxbuild.report.pages.verdict import against
from onnxbuild.report.summary import NEVER, waived_text

CAP = 1200
"""Rows on the page; the worst verdicts are kept."""
ROOM = 1_000_000
"""Characters that rows may have together, so that the page stays about a megabyte."""
SHORT_ROOM = 200_000
"""How many of these are for rows in short, where there is no room for all; a script shows those that are looked for."""
MOST_PROVIDERS = 4
"""Columns of latencies; on further providers it stands beside the provider's name."""
TRENDS = (
    "Lines are what was accepted, by the git history of the locks, the latest to the right; an open dot is this build."
)
_LINE = re.compile(r'<svg class="spark".*?</svg>')
_SAME, _SAME_TIME = 1e-9, 5e-4
"""How near, relatively, two values are one; a lock has times in four digits."""


ShortRow = tuple[str, str, str, str, str, str]
"""A target, its link, the kind of its verdict and what that is sorted by, its size and the bytes."""


@dataclass(frozen=True)
class IndexPage:
    """Everything that the template of the index prints.

    `counts` are marks with how many targets bear them, `rest` is what the table has no room for.
    """

    lead: str
    version: str
    counts: tuple[tuple[Mark, str], ...]
    table: Table
    note: str
    rest: tuple[ShortRow, ...]
    twin: str


def timed_providers(rows: Iterable[IndexRow]) -> tuple[str, ...]:
    """Return the providers with a column of their own: all on which a target of these was timed, up to a few."""
    named = dict.fromkeys(each.provider for row in rows for each in row.latencies)
    return tuple(itertools.islice(named, MOST_PROVIDERS))


def columns(providers: tuple[str, ...]) -> tuple[Column, ...]:
    """Return the columns of the index, with the latency on each of `providers`."""
    return (
        Column("Target"),
        Column("Verdict"),
        Column("Metric", "num"),
        Column("vs source", "num", note="vs accepted"),
        Column("Size", "num"),
        Column("vs baseline", "num", note="vs accepted"),
        *(Column(f"Latency on {provider}", "num", note="median call, vs accepted") for provider in providers),
        Column("Gates", "num", note="passed"),
        Column("Accepted", "told", note="what else differs"),
        Column("Providers"),
        Column("Remark", "remark"),
    )


def index_page(facts: IndexFacts, drawn: Mapping[str, Markup]) -> IndexPage:
    """Return the index page; `drawn` is the markup of its rows by target."""
    rows, drawn, note = _fitting(facts.rows, drawn)
    full = {row.target for row in rows}
    rest = _in_short(row for row in facts.rows if row.target not in full)
    shown = f"showing {len(rows):,} of {len(facts.rows):,}" if len(rows) < len(facts.rows) else ""
    table = Table("All targets", columns(timed_providers(facts.rows)),
                  tuple(Row(drawn=drawn[row.target]) for row in rows), shown,
                  empty="No recipe has a target yet.", hide_caption=True, class_="index")  # fmt: skip
    marks = Counter(verdict_mark(row.verdict) for row in facts.rows)
    order = ("passed", "failed", "unverified", "missing")
    counts = tuple((mark, numbers.count(n)) for mark, n in sorted(marks.items(), key=lambda p: order.index(p[0].kind)))
    recipes = len({row.recipe for row in facts.rows})
    said = f"{numbers.plural(len(facts.rows), 'target')} of {numbers.plural(recipes, 'recipe')}"
    return IndexPage(said, facts.version, counts, table, note, rest, "index.json")


def _in_short(rows: Iterable[IndexRow]) -> tuple[ShortRow, ...]:
    """Return as many rows in short as there is room for, those that are not passed first."""
    kept: list[ShortRow] = []
    room = SHORT_ROOM
    for row in sorted(rows, key=lambda row: row.verdict is Verdict.PASSED):
        short = (row.target, row.link, verdict_mark(row.verdict).kind, _verdict_key(row), numbers.size(row.bytes),
                 _key(row.bytes))  # fmt: skip
        room -= len(encode(short)) + 1
        if room < 0:
            break
        kept.append(short)
    return tuple(kept)


def _fitting(rows: Sequence[IndexRow], drawn: Mapping[str, Markup]) -> tuple[list[IndexRow], Mapping[str, Markup], str]:
    """Return the rows that a page has room for, in their order, their markup, and what to say of lines in them.

    Rows are worth more than lines, and those that are not passed go first.
    """
    note = TRENDS if any(_LINE.search(markup) for markup in drawn.values()) else ""
    if note and (len(rows) > CAP or sum(map(len, drawn.values())) > ROOM):
        drawn = {target: Markup(_LINE.sub("", markup)) for target, markup in drawn.items()}  # noqa: S704  # less of ours
        note = "There are too many rows for lines of what was accepted."
    kept: list[int] = []
    room = ROOM if sum(map(len, drawn.values())) <= ROOM and len(rows) <= CAP else ROOM - SHORT_ROOM
    for at in sorted(range(len(rows)), key=lambda at: rows[at].verdict is Verdict.PASSED):
        room -= len(drawn[rows[at].target])
        if room < 0 or len(kept) == CAP:
            break
        kept.append(at)
    return [rows[at] for at in sorted(kept)], drawn, note


def index_row(row: IndexRow, providers: tuple[str, ...]) -> Row:
    """Return one target's row, with the latency on each of `providers`."""
    name, value = row.metric or "", row.metric_model
    change = None if row.metric is None or value is None or row.metric_source is None else value - row.metric_source
    base = (row.baseline, round(row.bytes / row.size_ratio)) if row.baseline and row.bytes and row.size_ratio else None
    timed = {each.provider: each for each in row.latencies}
    others = [
        f"{each.provider} {numbers.milliseconds(each.median)}"
        for each in row.latencies
        if each.provider not in providers
    ]
    cells = (
        Cell(name=row.target, href=row.link),
        Cell(mark=verdict_mark(row.verdict), sort=_verdict_key(row)),
        Cell(
            numbers.metric_value(name, value) if row.metric else numbers.NONE,
            note=name.replace("_", " "),
            sort=_key(value),
            chart=_drawn(name.replace("_", " "), row.metric_trend, value, lambda v: numbers.metric_value(name, v)),
        ),
        Cell(
            numbers.metric_change(name, change) if change is not None else numbers.NONE,
            note=_since(row.metric_accepted, value, lambda old, new: numbers.metric_change(name, new - old))
            + (", beyond noise" if row.metric_exceeds else ""),
            sort=_key(change),
        ),
        Cell(
            numbers.size(row.bytes),
            title=numbers.exact_size(row.bytes) or "",
            sort=_key(row.bytes),
            chart=_drawn("size", row.bytes_trend, row.bytes, lambda v: numbers.size(round(v))),
        ),
        Cell(
            against(base, row.bytes),
            note=_since(row.bytes_accepted, row.bytes, lambda old, new: numbers.size_change(round(old), round(new))),
            sort=_key(row.size_ratio),
        ),
        *(_latency(timed.get(provider)) for provider in providers),
        Cell(f"{row.gates_passed} of {row.gates}" if row.gates else numbers.NONE),
        Cell(name=row.accepted or numbers.NONE, note=_since_when(row), fold=240),
        Cell(mark_providers(row.providers, row.unverified_providers) or numbers.NONE, note=", ".join(others)),
        Cell(name=row.trouble, fold=240),
    )
    return Row(cells)


def _since_when(row: IndexRow) -> str:
    day = f"accepted on {row.accepted_on}" if row.accepted_on is not None and row.accepted != NEVER else ""
    return "; ".join(filter(None, (day, waived_text(row.waived))))


def _latency(found: IndexLatency | None) -> Cell:
    if found is None:
        return Cell(numbers.NONE)
    batch = [f"batch {found.batch}"] if found.batch != 1 else []
    since = _since(found.accepted, found.median, _shift, _SAME_TIME)
    noise = [f"{since}, {'beyond' if found.exceeds else 'within'} noise"] if since else []
    return Cell(
        numbers.milliseconds(found.median),
        note="; ".join([*batch, *noise]),
        sort=_key(found.median),
        chart=_drawn(f"latency on {found.provider}", found.trend, found.median, numbers.milliseconds, _SAME_TIME),
    )


def _shift(old: float, new: float) -> str:
    change = new / old - 1 if old else 0.0
    return numbers.signed(f"{abs(change):.0%}", change) if abs(change) >= 0.005 else ""


def _verdict_key(row: IndexRow) -> str:
    return str(list(Verdict).index(row.verdict)) if row.verdict else "9"


def _key(value: float | None) -> str:
    """Return what a script sorts by; "" leaves the cell's own text, which sorts last where it is a dash."""
    return "" if value is None else f"{value:.9g}"


def _since(old: float | None, new: float | None, said: Callable[[float, float], str], near: float = _SAME) -> str:
    """Return the change since the accepted build, "" for none."""
    if old is None or new is None or math.isclose(old, new, rel_tol=near):
        return ""
    return said(old, new)


def _drawn(
    what: str, trend: Sequence[float | None], now: float | None, said: Callable[[float], str], near: float = _SAME
) -> Markup | None:
    """Return the accepted values as a line that ends in what there is now; None where nothing was accepted twice."""
    if not trend:
        return None
    is_new = now is not None and (trend[-1] is None or not math.isclose(trend[-1], now, rel_tol=near))
    known = [value for value in trend if value is not None]
    label = f"{what} as accepted {len(trend)} times: {said(min(known))} to {said(max(known))}"
    if now is not None:
        label += f"; now {said(now)}"
    return spark([*trend, now] if is_new else trend, label, is_new=is_new)
