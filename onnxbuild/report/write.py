"""Reports to files: whole or not at all, and untouched where nothing changed; knows nothing of what is in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from onnxbuild import __version__
from onnxbuild.base.atomic import write_atomically
from onnxbuild.base.codec import encode
from onnxbuild.report.facts import DrawnRow, IndexFacts, ReportFacts
from onnxbuild.report.pages.index import timed_providers
from onnxbuild.report.render import render_index, render_recipe, render_row
from onnxbuild.report.summary import index_facts

INDEX = "index"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_reports(facts: Sequence[ReportFacts], folder: Path) -> list[Path]:
    """Write a page and a JSON twin for each recipe, and the index of them all; return the files that changed."""
    return write_pages(facts, folder) + write_index(align_rows(draw_rows(facts)), folder)


def write_pages(facts: Sequence[ReportFacts], folder: Path) -> list[Path]:
    """Write a page and a JSON twin for each recipe; return the files that changed.

    Raises ValueError for a recipe whose name is no plain file name, OSError as the file system says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for report in facts:
        if not _NAME.fullmatch(report.name) or report.name == INDEX:
            raise ValueError(f"'{report.name}' cannot name a report")
        changed += _write_pair(folder, report.name, render_recipe(report), encode(report))
    return changed


def draw_rows(facts: Sequence[ReportFacts]) -> list[DrawnRow]:
    """Return the rows of the index for all targets of some recipes, on their own."""
    rows = index_facts(facts).rows
    providers = timed_providers(rows)
    return [DrawnRow(row, providers, render_row(row, providers)) for row in rows]


def align_rows(rows: Sequence[DrawnRow]) -> list[DrawnRow]:
    """Return rows with the same columns, those drawn again that had others."""
    providers = timed_providers([drawn.row for drawn in rows])
    return [
        each if each.providers == providers else DrawnRow(each.row, providers, render_row(each.row, providers))
        for each in rows
    ]


def write_index(rows: Sequence[DrawnRow], folder: Path) -> list[Path]:
    """Write the index of all recipes, of aligned rows, and its JSON twin; return the files that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    index = IndexFacts(rows=tuple(drawn.row for drawn in rows), version=__version__ if rows else "")
    page = render_index(index, {drawn.row.target: drawn.markup for drawn in rows})
    return _write_pair(folder, INDEX, page, encode(index))


def _write_pair(folder: Path, stem: str, page: str, twin: bytes) -> list[Path]:
    wanted = {folder / f"{stem}.html": page.encode(), folder / f"{stem}.json": twin + b"\n"}
    return [path for path, data in wanted.items() if write_if_changed(path, data)]


def write_if_changed(path: Path, data: bytes) -> bool:
    """Put `data` at `path` in one step unless it is there already; return whether it was written."""
    try:
        if path.stat().st_size == len(data) and path.read_bytes() == data:
            return False
    except OSError:
        pass  # not there, or not readable: written below
    write_atomically(path, data, durable=False)
    return True
