"""The actions of a recipe as a layered drawing, left to right; places boxes by their distance from the sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from onnxbuild.report.charts.svg import element
from onnxbuild.report.names import shorten

WIDTH, HEIGHT, GAP_X, GAP_Y, EDGE = 148, 40, 40, 14, 4
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
    wide = max(x for x, _ in placed.values()) + WIDTH + EDGE
    tall = max(y for _, y in placed.values()) + HEIGHT + EDGE
    known = {box.id: box for box in boxes}
    edges = [_edge(placed[i], placed[box.id]) for box in boxes for i in box.inputs if i in known]
    drawn = [element("title", label), *edges, *(_box(box, placed[box.id]) for box in boxes)]
    return element(
        "svg", *drawn, class_="lineage", width=wide, height=tall, viewBox=f"0 0 {wide} {tall}", role="img",
        aria_label=label,
    )  # fmt: skip


def place(boxes: Sequence[Box]) -> dict[str, tuple[int, int]]:
    """Return the top left corner of each box: columns by longest path, rows near the mean of what a box reads."""
    known = {box.id for box in boxes}
    depth = columns(boxes)
    row: dict[str, float] = {}
    for column in range(max(depth.values()) + 1):
        members = [box for box in boxes if depth[box.id] == column]
        wished = {box.id: _mean([row[i] for i in box.inputs if i in known and i in row]) for box in members}
        free = 0.0
        for box in sorted(members, key=lambda b: wished[b.id]):
            row[box.id] = max(free, wished[box.id])
            free = row[box.id] + 1
    return {
        box.id: (EDGE + depth[box.id] * (WIDTH + GAP_X), EDGE + round(row[box.id] * (HEIGHT + GAP_Y))) for box in boxes
    }


def columns(boxes: Sequence[Box]) -> dict[str, int]:
    """Return each box's column: one after the last it reads, then as near as can be to what reads it.

    What nothing reads keeps its place, but what was made is moved to the last column: it is the end.
    """
    depth: dict[str, int] = {}
    for box in boxes:  # in plan order: what a box reads comes before it
        depth[box.id] = 1 + max((depth[i] for i in box.inputs if i in depth), default=-1)
    last = max(depth.values())
    readers: dict[str, list[str]] = {}
    for box in boxes:
        for i in box.inputs:
            readers.setdefault(i, []).append(box.id)
    for box in reversed(boxes):
        if box.id in readers:
            depth[box.id] = max(depth[box.id], min(depth[reader] for reader in readers[box.id] if reader in depth) - 1)
        elif box.tone == "ok" and box.inputs:
            depth[box.id] = last
    return depth


def _mean(rows: list[float]) -> float:
    return sum(rows) / len(rows) if rows else 0.0


def _edge(start: tuple[int, int], end: tuple[int, int]) -> Markup:
    x1, y1, x2, y2 = start[0] + WIDTH, start[1] + HEIGHT // 2, end[0], end[1] + HEIGHT // 2
    bend = min(GAP_X, (x2 - x1) // 2 + 8)
    return element("path", d=f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}", class_="edge")


def _box(box: Box, at: tuple[int, int]) -> Markup:
    x, y = at
    return element(
        "g",
        element("title", f"{box.id}: {box.detail}" if box.detail else box.id),
        element("rect", x=x, y=y, width=WIDTH, height=HEIGHT, rx=4, class_=f"box {box.tone}"),
        element("text", shorten(box.title, 22), x=x + 10, y=y + 17, class_="box-title"),
        element("text", shorten(box.detail, 24), x=x + 10, y=y + 31, class_="box-detail"),
    )
