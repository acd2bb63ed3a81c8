"""The actions of a recipe as a layered drawing, left to right; knows how boxes look, not where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from onnxbuild.report.charts.layout import Placed, lay_out
from onnxbuild.report.charts.svg import element, route
from onnxbuild.report.names import shorten

WIDTH, HEIGHT, EDGE = 148, 40, 4
MOST = 60
"""More boxes than this are no picture any more."""


class Box(NamedTuple):
    """One action: its id, two lines of text, a tone (ok, failed, missing), and the ids that it reads."""

    id: str
    title: str
    detail: str
    tone: str
    inputs: tuple[str, ...]


def lineage(boxes: Sequence[Box], label: str) -> Markup:
    """Return the drawing in its natural size; the page lets it scroll in its own frame."""
    placed = place(boxes)
    wide, tall = placed.height + 2 * EDGE, placed.width + 2 * EDGE
    edges = [
        element("path", d=route([(y + EDGE, x + EDGE) for x, y in points], across=True), class_="edge")
        for points in placed.routes.values()
    ]
    drawn = [_box(box, y - WIDTH / 2 + EDGE, x - HEIGHT / 2 + EDGE) for box, (x, y) in zip(boxes, placed.centres)]  # noqa: B905  # as many
    return element(
        "svg", element("title", label), *edges, *drawn, class_="lineage", width=wide, height=tall,
        viewBox=f"0 0 {wide:.0f} {tall:.0f}", role="img", aria_label=label,
    )  # fmt: skip


def place(boxes: Sequence[Box]) -> Placed:
    """Return where the boxes stand, with layers along x; what was made and nothing reads stands last: it is the end."""
    number = {box.id: at for at, box in enumerate(boxes)}  # in plan order: what a box reads comes before it
    edges = [(number[i], number[box.id]) for box in boxes for i in box.inputs if i in number]
    ends = [number[box.id] for box in boxes if box.tone == "ok" and box.inputs]
    return lay_out([(HEIGHT, WIDTH)] * len(boxes), edges, beside=14, between=40, last=ends)


def _box(box: Box, x: float, y: float) -> Markup:
    return element(
        "g",
        element("title", f"{box.id}: {box.detail}" if box.detail else box.id),
        element("rect", x=x, y=y, width=WIDTH, height=HEIGHT, rx=4, class_=f"box {box.tone}"),
        element("text", shorten(box.title, 20), x=x + 10, y=y + 17, class_="box-title"),
        element("text", shorten(box.detail, 22), x=x + 10, y=y + 31, class_="box-detail"),
    )
