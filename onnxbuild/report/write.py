"""Reports to files: whole or not at all, and untouched where nothing changed; knows nothing of what is in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from onnxbuild.base.atomic import write_atomically
from onnxbuild.base.codec import encode
from onnxbuild.report.facts import IndexRow, ReportFacts
from onnxbuild.report.render import render_index, render_recipe
from onnxbuild.report.summary import index_facts

INDEX = "index"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_reports(
    facts: Sequence[ReportFacts], folder: Path, others: Sequence[IndexRow] = (), order: Sequence[str] = ()
) -> list[Path]:
    """Write a page and a JSON twin for each recipe, and the index; return the files that changed.

    The index has the targets of `facts` and `others`, those of recipes whose pages stay, with recipes in the given
    `order`. Raises ValueError for a recipe whose name is no plain file name, OSError as the file system says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for report in facts:
        if not _NAME.fullmatch(report.name) or report.name == INDEX:
            raise ValueError(f"'{report.name}' cannot name a report")
        changed += _write_pair(folder, report.name, render_recipe(report), encode(report))
    index = index_facts(facts)
    if others:
        place = {recipe: number for number, recipe in enumerate(order)}
        rows = sorted((*others, *index.rows), key=lambda row: place[row.recipe])
        index = msgspec.structs.replace(index, rows=tuple(rows))
    return changed + _write_pair(folder, INDEX, render_index(index), encode(index))


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
