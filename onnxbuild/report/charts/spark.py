"""A line as small as a word: values in the order in which they were, the last one marked; knows no history."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from onnxbuild.report.charts.svg import element

WIDTH, HEIGHT = 64, 18
"""Pixels, which the style sheet gives it: an index has thousands."""
_EDGE = 3.0
LEAST = 0.02
"""The part of the largest value that the height stands for at least: a change of less does not look like much."""


def spark(values: Sequence[float | None], label: str, *, is_new: bool) -> Markup:
    """Return the drawing; None is a gap. `is_new` leaves the mark of the last value open."""
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    span = max(high - low, LEAST * max(abs(low), abs(high))) or 1.0
    middle = (low + high) / 2
    step = (WIDTH - 2 * _EDGE) / max(len(values) - 1, 1)
    points = [
        None if value is None else (_EDGE + step * at, HEIGHT / 2 - (HEIGHT - 2 * _EDGE) * (value - middle) / span)
        for at, value in enumerate(values)
    ]
    parts, joined = [], False
    for point in points:
        if point is not None:
            parts.append(f"{'L' if joined else 'M'}{round(point[0], 1):g} {round(point[1], 1):g}")
        joined = point is not None
    last = next(point for point in reversed(points) if point is not None)
    mark = element("circle", cx=round(last[0], 1), cy=round(last[1], 1), r=2.2, class_="new" if is_new else "last")
    return element("svg", element("path", d="".join(parts)), mark, class_="spark", role="img", aria_label=label)
