"""Candidates as points: latency to the right, use of the tolerance upwards, size as area; the chosen one ringed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from onnxbuild.report.charts.svg import element, figure, share

HEIGHT = 250
_TOP, _BASE, _TICKS = 16, 196, 222
_LINE = 15
"""Pixels between two names at least: points that are near each other have theirs one above the other."""
_LEFT, _RIGHT = 0.1, 0.82
"""Parts of the width between which points lie: names stand to their right."""
_LARGEST = 15.0
END = 1.5
"""The share of the tolerance at which the axis ends; what uses more stands there, with an arrow."""


class Point(NamedTuple):
    """One candidate: milliseconds (quartiles and median), share of the tolerance used, bytes, tone and note."""

    name: str
    lower: float
    median: float
    upper: float
    use: float
    bytes: int
    tone: str
    chosen: bool
    note: str


def front(points: Sequence[Point], label: str) -> Markup:
    """Return the drawing; the limit of the tolerance is a dashed line, what lies above it misses the tolerance."""
    slowest = max(point.upper for point in points) * 1.05 or 1.0
    largest = max(point.bytes for point in points) or 1
    drawn = [
        element("line", x1=share(_LEFT), x2=share(_RIGHT), y1=_BASE, y2=_BASE, class_="axis"),
        element("line", x1=share(_LEFT), x2=share(_LEFT), y1=_TOP, y2=_BASE, class_="axis"),
        element("line", x1=share(_LEFT), x2="100%", y1=_height(1), y2=_height(1), class_="limit"),
        element("text", "the tolerance", x="100%", y=_height(1) - 5, text_anchor="end", class_="tick"),
        element("text", "0%", x=share(_LEFT - 0.01), y=_BASE, text_anchor="end", class_="tick"),
        element("text", "100%", x=share(_LEFT - 0.01), y=_height(1) + 4, text_anchor="end", class_="tick"),
        element("text", "0 ms", x=share(_LEFT), y=_TICKS, text_anchor="middle", class_="tick"),
        element("text", f"{slowest:.3g} ms", x=share(_RIGHT), y=_TICKS, text_anchor="middle", class_="tick"),
        element("text", "milliseconds a call →", x=share((_LEFT + _RIGHT) / 2), y=_TICKS + 16, text_anchor="middle",
                class_="tick"),
    ]  # fmt: skip
    names = _name_heights(points)
    for point in sorted(points, key=lambda one: -one.bytes):
        drawn += _draw(point, slowest, largest, names[point.name])
    return figure(label, HEIGHT, drawn, class_="front")


def _draw(point: Point, slowest: float, largest: int, name_at: float) -> list[Markup]:
    at, up = _place(point.median / slowest), _height(point.use)
    radius = max(3.0, _LARGEST * math.sqrt(point.bytes / largest))
    whisker = element("line", x1=share(_place(point.lower / slowest)), x2=share(_place(point.upper / slowest)),
                      y1=up, y2=up, class_="axis")  # fmt: skip
    note = element("title", point.note)
    circle = element("circle", note, cx=share(at), cy=up, r=radius, class_=f"fill-{point.tone} see-through")
    drawn = [whisker, circle]
    if point.chosen:
        drawn.append(element("circle", cx=share(at), cy=up, r=radius + 4, class_="ring"))
    over = " ▴" if point.use > END else ""
    text = f"{point.name}{over}" + (" · chosen" if point.chosen else "")
    drawn.append(element("text", text, x=share(at), dx=radius + 8, y=name_at, class_="tick"))
    return drawn


def _name_heights(points: Sequence[Point]) -> dict[str, float]:
    """Return where each name stands: beside its point, or higher where another has that place."""
    found: dict[str, float] = {}
    last = float(HEIGHT)
    for point in sorted(points, key=lambda one: (-_height(one.use), one.median)):
        last = min(_height(point.use) + 4, last - _LINE)
        found[point.name] = last
    return found


def _place(part: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * part


def _height(use: float) -> float:
    return _BASE - (_BASE - _TOP) * min(use, END) / END
