"""A table as a page shows it: columns, cells, and how many rows were left out; knows nothing of what is in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

from markupsafe import Markup

from onnxbuild.proof.gates import Verdict
from onnxbuild.report.names import LONG

CAP = 50
"""Rows of a table on a page; the JSON twin has them all."""


@dataclass(frozen=True)
class Mark:
    """A verdict as a shape, a colour and a word; `kind` is passed, failed, unverified or missing."""

    kind: str
    word: str


@dataclass(frozen=True)
class Cell:
    """One cell. `name` is text from outside (folded when long), `note` a second, quiet line, `title` a tooltip.

    `sort` is what a script sorts by where the text does not do.
    """

    text: str = ""
    name: str = ""
    note: str = ""
    href: str = ""
    title: str = ""
    tone: str = ""
    code: bool = False
    mark: Mark | None = None
    chart: Markup | None = None
    sort: str = ""
    fold: int = LONG


@dataclass(frozen=True)
class Column:
    """A column's heading; `kind` is text, told (sentences), num, code or chart; `note` a second, quiet line."""

    label: str
    kind: str = "text"
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One row, its first cell the heading of the row; `group` rows head those that follow.

    `drawn` is the row's markup where it was drawn before; then it needs no cells.
    """

    cells: tuple[Cell, ...] = ()
    group: bool = False
    drawn: Markup | None = None


@dataclass(frozen=True)
class Table:
    """A table with a caption; `shown` tells how many rows were left out, `empty` why there are none."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    shown: str = ""
    empty: str = ""
    hide_caption: bool = False
    class_: str = ""
    legend: tuple[tuple[str, str], ...] = field(default=())


def cap_rows(rows: Iterable[Row], total: int | None = None, cap: int = CAP) -> tuple[tuple[Row, ...], str]:
    """Return the first `cap` rows and the sentence that says what was left out, empty when nothing was.

    With `total`, the number of rows there are, rows that are not shown need not be made.
    """
    each = iter(rows)
    shown = tuple(itertools.islice(each, cap))
    whole = len(shown) + sum(1 for _ in each) if total is None else total
    return shown, f"showing {len(shown)} of {whole:,}" if len(shown) < whole else ""


def verdict_mark(verdict: Verdict | None, *, stopped: bool = False) -> Mark:
    """Return the mark of a gate or a target; None is a target that is not built, `stopped` one whose stage failed."""
    if stopped:
        return Mark("failed", "Failed")
    if verdict is None:
        return Mark("missing", "Not built")
    return Mark(verdict.value, verdict.value.capitalize())


def short_digest(digest: str) -> str:
    """Return the first twelve characters of a digest; the cell's title has all of it."""
    return digest.removeprefix("sha256:")[:12]
