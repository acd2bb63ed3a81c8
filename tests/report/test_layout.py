"""Layered drawings: boxes keep apart, edges keep clear of boxes, and the same graph is drawn the same."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxbuild.report.charts.layout import Placed, assign_layers, lay_out

Size = tuple[float, float]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Size], list[tuple[int, int]]]:
    count = draw(st.integers(1, 18))
    sizes = [(float(draw(st.integers(10, 90))), float(draw(st.integers(10, 40)))) for _ in range(count)]
    pairs = [(a, b) for a, b in itertools.combinations(range(count), 2)]
    return sizes, draw(st.lists(st.sampled_from(pairs), max_size=30)) if pairs else []


def boxes(sizes: list[Size], placed: Placed) -> list[tuple[float, float, float, float]]:
    return [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (w, h), (x, y) in zip(sizes, placed.centres, strict=True)]


@settings(max_examples=60)
@given(graphs())
def test_boxes_keep_apart_and_edges_lead_down(graph: tuple[list[Size], list[tuple[int, int]]]) -> None:
    sizes, edges = graph
    placed = lay_out(sizes, edges, beside=12, between=20)
    found = boxes(sizes, placed)
    for a, b in itertools.combinations(found, 2):
        assert a[2] <= b[0] - 11.9 or b[2] <= a[0] - 11.9 or a[3] <= b[1] - 19.9 or b[3] <= a[1] - 19.9
    assert min(box[0] for box in found) >= -0.01
    assert max(box[2] for box in found) <= placed.width + 0.01
    assert max(box[3] for box in found) <= placed.height + 0.01
    assert placed.routes.keys() == set(edges)
    for (a, b), points in placed.routes.items():
        assert points[0] == pytest.approx((placed.centres[a][0], found[a][3]))
        assert points[-1] == pytest.approx((placed.centres[b][0], found[b][1]))
        assert all(p[1] <= q[1] + 1e-6 for p, q in itertools.pairwise(points))


@settings(max_examples=60)
@given(graphs())
def test_no_edge_runs_under_a_box(graph: tuple[list[Size], list[tuple[int, int]]]) -> None:
    """Straight parts keep clear of boxes; bends run where no box is: between two layers."""
    sizes, edges = graph
    placed = lay_out(sizes, edges, beside=12, between=20)
    found = boxes(sizes, placed)
    for (a, b), points in placed.routes.items():
        for at, (p, q) in enumerate(itertools.pairwise(points)):
            for number, (left, top, right, bottom) in enumerate(found):
                if number in (a, b):
                    continue
                if at % 2 == 0:
                    assert not (left < p[0] < right and p[1] < bottom and q[1] > top)
                else:
                    assert not (p[1] + 1e-6 < bottom and q[1] - 1e-6 > top)


def crossings(placed: Placed) -> int:
    bends = [(p, q) for points in placed.routes.values() for p, q in list(itertools.pairwise(points))[1::2]]
    return sum(
        (p[0] - r[0]) * (q[0] - s[0]) < -1e-6
        for (p, q), (r, s) in itertools.combinations(sorted(set(bends)), 2)
        if p[1] == r[1]
    )


def test_a_tree_and_a_ladder_have_no_crossing() -> None:
    shuffled = random.Random(3)
    names = list(range(1, 31))
    shuffled.shuffle(names)
    tree = [((n - 1) // 2, n) for n in range(1, 31)]
    assert crossings(lay_out([(20, 20)] * 31, tree)) == 0
    ladder = [(n, n + 2) for n in range(20)] + [(n, n + 1) for n in range(0, 20, 2)]
    assert crossings(lay_out([(20, 20)] * 22, ladder)) == 0


def test_a_long_edge_is_straight() -> None:
    chain = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)]
    points = lay_out([(40, 20)] * 5, chain).routes[0, 4]
    passed = [x for x, _ in points[2:-2]]
    assert max(passed) - min(passed) < 1


def test_what_is_last_stands_last() -> None:
    assert assign_layers(5, [(0, 1), (1, 2), (0, 3)]) == [0, 1, 2, 1, 0]
    assert assign_layers(5, [(0, 1), (1, 2), (0, 3)], last=[3]) == [0, 1, 2, 2, 0]
    assert assign_layers(4, [(0, 2), (1, 3), (2, 3)])[1] == 1, "a source stands near its reader"


def test_edges_that_lead_backwards_are_left_out() -> None:
    assert lay_out([(9, 9)] * 3, [(2, 0), (1, 1), (0, 1), (0, 9)]).routes.keys() == {(0, 1)}
    assert lay_out([], []).centres == ()
