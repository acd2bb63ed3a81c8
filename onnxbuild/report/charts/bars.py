"""Horizontal bars for table cells: plain, stacked by kind, diverging, and floating on a time axis."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from onnxbuild.report.charts.svg import element, figure, share

HEIGHT = 14
_TOP = 2
_BAR = 10


def bar(value: float, largest: float, label: str, *, tone: str = "plain") -> Markup:
    """Return one bar: `value` as a part of `largest`; what is there at all is at least a hairline wide."""
    return figure(label, HEIGHT, [_rect(0.0, value / largest if largest else 0.0, tone)], class_="bar")


def stacked(parts: Sequence[tuple[str, float]], largest: float, label: str) -> Markup:
    """Return a bar of (tone, value) parts, side by side, on a scale that ends at `largest`."""
    drawn, at = [], 0.0
    for tone, value in parts:
        width = value / largest if largest else 0.0
        drawn.append(_rect(at, width, tone))
        at += width
    return figure(label, HEIGHT, drawn, class_="bar")


def diverging(change: float, largest: float, label: str) -> Markup:
    """Return a bar from the middle: to the left what went, to the right what came."""
    half = 0.5 * abs(change) / largest if largest else 0.0
    drawn = [_rect(0.5 if change > 0 else 0.5 - half, half, "more" if change > 0 else "less")] if change else []
    axis = element("line", x1="50%", x2="50%", y1=0, y2=HEIGHT, class_="axis")
    return figure(label, HEIGHT, [*drawn, axis], class_="bar")


def span(start: float, length: float, whole: float, label: str, *, tone: str = "plain") -> Markup:
    """Return a bar that floats from `start` for `length` on an axis that ends at `whole`."""
    scale = whole or 1.0
    track = element("rect", x="0", width="100%", y=HEIGHT / 2 - 0.5, height=1, class_="track")
    return figure(label, HEIGHT, [track, _rect(start / scale, length / scale, tone)], class_="bar")


def _rect(at: float, width: float, tone: str) -> Markup:
    if width <= 0:
        return Markup("")
    return element(
        "rect", x=share(at), width=share(max(width, 0.004)), y=_TOP, height=_BAR, rx=1.5, class_=f"fill-{tone}"
    )
