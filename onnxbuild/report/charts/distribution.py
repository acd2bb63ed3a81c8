"""The share of runs that took at most so long, as a step line over time; knows no benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from onnxbuild.report.charts.svg import element, figure, share

HEIGHT, LOW, AXIS = 64, 30, 18
"""Pixels: of a figure, of one in a table's row, and of what stands below the line."""
_ACROSS = 1000
"""Units of the drawing's own width, which the page stretches."""


class Line(NamedTuple):
    """A tone, and the times below which equal parts of the runs lie, from the least to the greatest."""

    tone: str
    curve: Sequence[float]


def scale_end(curves: Sequence[Sequence[float]]) -> float:
    """Return where the axis ends: beyond what all but the slowest hundredth of each took, but not far from the middle.

    What took longer is off the axis: a line that one slow run flattens shows nothing.
    """
    last = [len(curve) - 1 for curve in curves]
    ends = [min(c[round(0.99 * n)], 2 * c[n // 2]) for c, n in zip(curves, last, strict=True)]
    return max(ends, default=1.0) * 1.12 or 1.0


def distribution(
    lines: Sequence[Line], end: float, ticks: Sequence[tuple[float, str]], label: str, *, height: int = HEIGHT
) -> Markup:
    """Return the lines on an axis from 0 to `end`, with the ticks named."""
    base = height - 1
    paths = [element("path", d=_path(line.curve, end), class_=f"line-{line.tone}", vector_effect="non-scaling-stroke")
             for line in lines]  # fmt: skip
    drawn = [
        element("line", x1="0", x2="100%", y1=base, y2=base, class_="axis"),
        element("svg", *paths, x="0", y=2, width="100%", height=height - 3, viewBox=f"0 0 {_ACROSS} 100",
                preserveAspectRatio="none"),
    ]  # fmt: skip
    for value, text in ticks:
        at, anchor = share(value / end), "start" if value == 0 else "middle" if value < 0.9 * end else "end"
        drawn.append(element("line", x1=at, x2=at, y1=base, y2=base + 4, class_="axis"))
        drawn.append(element("text", text, x=at, y=height + AXIS - 4, text_anchor=anchor, class_="tick"))
    return figure(label, height + (AXIS if ticks else 0), drawn, class_="distribution")


def _path(curve: Sequence[float], end: float) -> str:
    points: list[str] = []
    for number, value in enumerate(curve):
        x, y = min(value / end, 1.0) * _ACROSS, 100 - 100 * number / (len(curve) - 1)
        points.append(f"{'M' if not points else 'L'}{x:.1f} {y:.1f}")
        if value > end:
            break
    first = min(curve[0] / end, 1.0) * _ACROSS
    return f"M0 100L{first:.1f} 100" + "".join(points).replace("M", "L", 1)
