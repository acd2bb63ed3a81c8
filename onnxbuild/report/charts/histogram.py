"""Column charts: element errors by power of ten, and counts by class."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from onnxbuild.report.charts.svg import element, figure, share

BINS = 17
_FIRST = -13
"""Bin 0 holds exact zeros, bin 1 all below 1e-11, bin b errors from 10^(b-13)."""


def used_bins(histograms: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Return the first and the last bin, zeros apart, that any of the histograms needs, with one to spare."""
    used = [i for counts in histograms for i, n in enumerate(counts) if n and i > 0]
    if not used:
        return 5, BINS - 1
    return max(1, min(used) - 1), min(BINS - 1, max(used) + 1)


def errors(
    counts: Sequence[int], bins: tuple[int, int], limit: float | None, label: str, *, strict: bool, axis: bool
) -> Markup:
    """Return element counts by decade of |x - r|, exact zeros first, `limit` (an absolute one) as a dashed line.

    `strict`: nothing beyond the limit is allowed, so that such columns may be marked.
    """
    first, last = bins
    height, base = (74, 52) if axis else (56, 52)
    slots = last - first + 2.6
    total, largest = sum(counts) or 1, max(counts, default=0) or 1
    drawn = []
    for i in [0, *range(first, last + 1)]:
        at = (0.0 if i == 0 else i - first + 1.6) / slots
        tall = counts[i] / largest * (base - 8)
        tall = max(tall, 1.5) if counts[i] else 0.0
        beyond = strict and limit is not None and i > 0 and 10.0 ** (i + _FIRST) >= limit
        name = "exactly equal" if i == 0 else f"1e{i + _FIRST} to 1e{i + _FIRST + 1}"
        if tall:
            tone = "zero" if i == 0 else "beyond" if beyond else "spent"
            note = element("title", f"{name}: {counts[i]:,} ({counts[i] / total:.1%})")
            rect = element(
                "rect", note, x=share(at + 0.06 / slots), width=share(0.88 / slots), y=base - tall, height=tall,
                class_=f"fill-{tone}",
            )  # fmt: skip
            drawn.append(rect)
        if axis and (i == 0 or (i - first) % _stride(last - first) == 0):
            text = "0" if i == 0 else f"1e{i + _FIRST}"
            middle = at + (0.5 if i == 0 else 0.0) / slots
            drawn.append(element("text", text, x=share(middle), y=70, text_anchor="middle", class_="tick"))
    drawn.append(element("line", x1="0", x2=share(1 / slots), y1=base, y2=base, class_="axis"))
    drawn.append(element("line", x1=share(1.6 / slots), x2="100%", y1=base, y2=base, class_="axis"))
    if limit is not None and limit > 0:
        place = (math.log10(limit) - _FIRST - first + 1.6) / slots
        if 1.6 / slots <= place <= 1:
            drawn.append(element("line", x1=share(place), x2=share(place), y1=0, y2=base, class_="limit"))
    return figure(label, height, drawn, class_="histogram")


def classes(counts: Sequence[tuple[str, int]], label: str) -> Markup:
    """Return one column a class, its name below and its count above."""
    largest = max((n for _, n in counts), default=0) or 1
    slots = len(counts) or 1
    drawn = []
    for i, (name, n) in enumerate(counts):
        tall = n / largest * 44
        note = element("title", f"{name}: {n:,}")
        at, width = share((i + 0.12) / slots), share(0.76 / slots)
        drawn.append(element("rect", note, x=at, width=width, y=58 - tall, height=tall, class_="fill-plain"))
        if slots <= 12:
            middle = share((i + 0.5) / slots)
            drawn.append(element("text", f"{n:,}", x=middle, y=54 - tall, text_anchor="middle", class_="tick"))
            drawn.append(element("text", name[:6], x=middle, y=73, text_anchor="middle", class_="tick"))
    drawn.append(element("line", x1="0", x2="100%", y1=58, y2=58, class_="axis"))
    return figure(label, 78, drawn, class_="histogram")


def _stride(bins: int) -> int:
    return 1 if bins <= 6 else 2 if bins <= 12 else 3
