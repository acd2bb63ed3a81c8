"""Candidates as points: latency to the right, use of the tolerance upwards, size as area; the chosen one ringed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from onnxbuild.report.charts.svg import element, figure, share

HEIGHT = 230
_TOP, _BASE = 16, 186
_LEFT, _RIGHT = 0.1, 0.82
"""Parts of the width between which points lie: names stand to their right."""
_LARGEST = 15.0
END = 2.0
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
        element("text", "0 ms", x=share(_LEFT), y=_BASE + 16, text_anchor="middle", class_="tick"),
        element("text", f"{slowest:.3g} ms", x=share(_RIGHT), y=_BASE + 16, text_anchor="middle", class_="tick"),
        element("text", "milliseconds a call →", x=share((_LEFT + _RIGHT) / 2), y=_BASE + 32, text_anchor="middle",
                class_="tick"),
    ]  # fmt: skip
    for point in sorted(points, key=lambda one: -one.bytes):
        drawn += _draw(point, slowest, largest)
    return figure(label, HEIGHT, drawn, class_="front")


def _draw(point: Point, slowest: float, largest: int) -> list[Markup]:
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
    drawn.append(element("text", text, x=share(at), dx=radius + 8, y=up + 4, class_="tick"))
    return drawn


def _place(part: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * part


def _height(use: float) -> float:
    return _BASE - (_BASE - _TOP) * min(use, END) / END
