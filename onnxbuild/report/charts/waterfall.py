"""Rows of a horizontal waterfall: what each step added to or took from the part of a tolerance that is used."""

from __future__ import annotations

from markupsafe import Markup

from onnxbuild.report.charts.svg import element, figure, share

HEIGHT = 22


def scale_end(levels: list[float]) -> float:
    """Return where the axis ends, in shares of the limit: the limit itself is always on it."""
    largest = max([level for level in levels if level != float("inf")], default=0.0)
    return max(1.2, min(largest * 1.08, 5.0))


def row(before: float, after: float, end: float, label: str) -> Markup:
    """Return one step: from the share used `before` to that used `after`, with the limit at 1.0 as a dashed line.

    A level beyond the end of the axis is cut there, with an arrow.
    """
    low, high = sorted((min(before, end), min(after, end)))
    tone = "beyond" if after > 1 else "less" if after < before else "spent"
    drawn = [
        element("rect", x="0", width=share(1 / end), y=0, height=HEIGHT, class_="room"),
        element("rect", x="0", width=share(low / end), y=9, height=4, class_="carried"),
    ]
    if high > low or high > 0:
        width = max((high - low) / end, 0.004)
        at = min(low / end, 1 - width)
        drawn.append(element("rect", x=share(at), width=share(width), y=5, height=12, rx=1.5, class_=f"fill-{tone}"))
    drawn.append(element("line", x1=share(1 / end), x2=share(1 / end), y1=0, y2=HEIGHT, class_="limit"))
    if after > end:
        drawn.append(element("text", "▸", x="100%", y=15, text_anchor="end", class_="over"))
    return figure(label, HEIGHT, drawn, class_="waterfall")
