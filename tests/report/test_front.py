"""The chart of candidates: every point and name is there, apart, and what is beyond the axis is marked."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

from onnxbuild.report.charts.front import Point, front


def point(name: str, median: float, use: float, *, chosen: bool = False, size: int = 100) -> Point:
    return Point(name, median * 0.9, median, median * 1.1, use, size, "spent" if use <= 1 else "beyond", chosen, name)


def drawn(*points: Point) -> ElementTree.Element:
    return ElementTree.fromstring(str(front(points, "Candidates")))


def test_each_candidate_is_a_point_and_the_chosen_one_is_ringed() -> None:
    chart = drawn(point("float32", 10, 0.0, size=400), point("static int8", 5, 0.5, chosen=True))
    circles = [c.get("class") or "" for c in chart.iter("circle")]
    assert sorted(circles) == ["fill-spent see-through", "fill-spent see-through", "ring"]
    assert "static int8 · chosen" in [t.text for t in chart.iter("text")]
    radii = [float(c.get("r") or 0) for c in chart.iter("circle") if c.get("class") != "ring"]
    assert max(radii) / min(radii) == 2, "size is area"


def test_what_misses_by_far_or_cannot_be_compared_stands_at_the_end_of_the_axis_with_an_arrow() -> None:
    chart = drawn(point("float32", 10, 0.0), point("int4", 12, math.inf), point("dynamic int8", 12, 40.0))
    texts = [t.text or "" for t in chart.iter("text")]
    assert {"int4 ▴", "dynamic int8 ▴"} <= set(texts)
    heights = {c.get("cy") for c in chart.iter("circle") if "beyond" in (c.get("class") or "")}
    assert len(heights) == 1


def test_names_of_points_in_one_place_stand_apart() -> None:
    chart = drawn(*(point(name, 10, 0.01) for name in ("float32", "float16", "static int8", "dynamic int8")))
    ys = [float(t.get("y") or 0) for t in chart.iter("text") if re.fullmatch(r"float.*|.*int8", t.text or "")]
    assert len(ys) == 4
    assert min(abs(a - b) for i, a in enumerate(ys) for b in ys[:i]) >= 12
