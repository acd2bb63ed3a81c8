"""A table's row as markup, written out because a page has hundreds of them; knows no page.

Everything else is templates: these lines are what cell and row would be there, at a fifth of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

from onnxbuild.report.names import markup_name, markup_text, visible
from onnxbuild.report.pages.table import Cell, Column, Mark, Row

DrawMark = Callable[[Mark], str]


def row_markup(row: Row, columns: Sequence[Column], draw_mark: DrawMark) -> Markup:
    """Return a `<tr>`: its first cell heads the row, or the rows below it where it heads a group."""
    if row.drawn is not None:
        return row.drawn
    parts = ['<tr class="group">' if row.group else "<tr>"]
    for number, (cell, column) in enumerate(zip(row.cells, columns, strict=False)):
        tag = "th" if number == 0 else "td"
        parts.append(f"<{tag}")
        if number == 0:
            parts.append(' scope="rowgroup"' if row.group else ' scope="row"')
        if row.group and len(columns) > 1:
            parts.append(f' colspan="{len(columns)}"')
        parts.append(f' class="{column.kind} {cell.tone}"' if cell.tone else f' class="{column.kind}"')
        if cell.title:
            parts.append(f' title="{_quote(cell.title)}"')
        if cell.sort:
            parts.append(f' data-sort="{_quote(cell.sort)}"')
        body = _body(cell, draw_mark)
        parts.append(f'><span class="stick">{body}</span></{tag}>' if row.group else f">{body}</{tag}>")
    parts.append("</tr>")
    return Markup("".join(parts))  # noqa: S704  # escaped above


def _body(cell: Cell, draw_mark: DrawMark) -> str:
    if cell.name:
        shown: str = markup_name(cell.name, None if cell.href else cell.fold)
    elif cell.chart and cell.text:
        shown = f'<span class="charted">{cell.chart}<span>{markup_text(cell.text)}</span></span>'
    else:
        shown = cell.chart or markup_text(cell.text)
    if cell.code and (cell.text or cell.name):
        shown = f"<code>{shown}</code>"
    if cell.href:
        shown = f'<a href="{_quote(cell.href)}">{shown}</a>'
    mark = draw_mark(cell.mark) if cell.mark else ""
    note = f"<small>{markup_text(cell.note)}</small>" if cell.note else ""
    return f"{mark}{shown}{note}"


def _quote(text: str) -> str:
    return str(escape(visible(text)))
