"""Layered drawing of a directed graph: where boxes stand and how edges run between them; knows no SVG and no meaning.

The method is Sugiyama, Tagawa and Toda's (Methods for Visual Understanding of Hierarchical System Structures, 1981):
boxes in layers by the longest path, a place in each layer for every edge that passes it, few crossings by ordering
layers at the medians of their neighbours, and coordinates. Those are not Brandes and Köpf's: each layer's are the least
squares that keep its order and distances, which is an isotonic regression (pool adjacent violators), with the weights
that keep long edges straight of Gansner and others (A Technique for Drawing Directed Graphs, 1993).

Why our own: a drawing must be the same bytes on every machine and come without a program beside Python. Graphviz is
such a program; grandalf rests since 2023 and is under the GPL or EPL; fast-sugiyama orders its layers differently in
each process; networkx and rustworkx have no layered layout of their own.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median_low

SWEEPS = 12
_SETTLING = 48
"""Sweeps until places have settled: first by neighbours on one side, then on both."""
_PASSED = 8
"""Width that an edge keeps free in a layer it passes."""
_STILL = 0.05
"""How little all of a sweep may move for it to be the last."""
_STRAIGHT = {0: 1.0, 1: 2.0, 2: 8.0}
"""How much an edge's straightness counts, by how many of its ends do not end or part there."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Placed:
    """Centres of the boxes, and of each edge the points it runs through.

    A route is straight from its first point, at the box, to the end of that layer, bends from there to the next layer,
    is straight through it, and so on: straight and bent in turns, straight at both ends. No bend passes a box.
    Layers are stacked along y. `width` and `height` enclose all boxes, whose corner nearest to the origin is (0, 0).
    """

    centres: tuple[Point, ...]
    routes: dict[tuple[int, int], tuple[Point, ...]]
    width: float
    height: float


@dataclass
class _Item:
    """A box, or the place where edges from one box pass a layer."""

    layer: int
    width: float
    height: float
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)
    box: bool = True
    at: float = 0.0
    pulls: dict[str, list[tuple[float, int]]] = field(default_factory=dict)


def lay_out(
    sizes: Sequence[tuple[float, float]],
    edges: Iterable[tuple[int, int]],
    *,
    beside: float = 16,
    between: float = 28,
    last: Iterable[int] = (),
) -> Placed:
    """Place boxes of these sizes (along a layer, across it) so that edges lead from lower to higher layers.

    Edges lead from an earlier box to a later one; others are left out. Boxes keep `beside` from each other in a layer;
    layers keep at least `between`. Those in `last` stand in the last layer where nothing reads them.
    """
    kept = sorted({(a, b) for a, b in edges if 0 <= a < b < len(sizes)})
    return _laid_out(tuple(sizes), tuple(kept), beside, between, tuple(last)) if sizes else Placed((), {}, 0.0, 0.0)


@functools.lru_cache(maxsize=64)
def _laid_out(
    sizes: tuple[tuple[float, float], ...],
    kept: tuple[tuple[int, int], ...],
    beside: float,
    between: float,
    last: tuple[int, ...],
) -> Placed:
    """Do it; variants of a recipe share many graphs."""
    layers = assign_layers(len(sizes), kept, last)
    items = [_Item(layer, *size) for layer, size in zip(layers, sizes, strict=True)]
    ways = _pass_layers(items, kept)
    order = _order(items)
    _place(items, order, beside)
    return _measure(items, order, ways, len(sizes), between)


def forget_layouts() -> None:
    """Forget what was laid out before, so that the time it takes can be measured."""
    _laid_out.cache_clear()


def assign_layers(count: int, edges: Sequence[tuple[int, int]], last: Iterable[int] = ()) -> list[int]:
    """Return each box's layer: one below the last it reads, then as near as can be to the first that reads it."""
    above: dict[int, list[int]] = {}
    below: dict[int, list[int]] = {}
    for a, b in edges:
        above.setdefault(b, []).append(a)
        below.setdefault(a, []).append(b)
    layers = [0] * count
    for box in range(count):
        layers[box] = 1 + max((layers[other] for other in above.get(box, ())), default=-1)
    end, ends = max(layers), set(last)
    for box in reversed(range(count)):
        if box in below:
            layers[box] = max(layers[box], min(layers[other] for other in below[box]) - 1)
        elif box in ends:
            layers[box] = end
    return layers


def _pass_layers(items: list[_Item], edges: Sequence[tuple[int, int]]) -> dict[tuple[int, int], list[int]]:
    """Let edges pass the layers between their ends, those of one box together, and return the way of each edge."""
    passing: dict[tuple[int, int], int] = {}
    ways = {}
    for a, b in edges:
        way = [a]
        for layer in range(items[a].layer + 1, items[b].layer):
            if (a, layer) not in passing:
                passing[a, layer] = len(items)
                items.append(_Item(layer, _PASSED, 0.0, box=False))
            way.append(passing[a, layer])
        way.append(b)
        ways[a, b] = way
        for upper, lower in itertools.pairwise(way):
            if lower not in items[upper].below:
                items[upper].below.append(lower)
                items[lower].above.append(upper)
    return ways


def _order(items: Sequence[_Item]) -> list[list[int]]:
    """Return the items of each layer in an order with few crossings: the best that sweeps up and down come to."""
    order = _first_order(items)
    best, fewest = [list(layer) for layer in order], _crossings(items, order)
    for sweep in range(SWEEPS):
        if fewest == 0:
            break
        downwards = sweep % 2 == 0
        for layer in order if downwards else reversed(order):
            _sort_layer(items, order, layer, downwards)
        for layer in order:
            _swap_neighbours(items, order, layer)
        found = _crossings(items, order)
        if found < fewest:
            best, fewest = [list(layer) for layer in order], found
    return best


def _first_order(items: Sequence[_Item]) -> list[list[int]]:
    """Return the layers in the order in which a walk from the sources, deep first, comes to their items."""
    order: list[list[int]] = [[] for _ in range(1 + max(item.layer for item in items))]
    seen: set[int] = set()
    for source in sorted(range(len(items)), key=lambda i: (items[i].layer, i)):
        stack = [source]
        while stack:
            item = stack.pop()
            if item not in seen:
                seen.add(item)
                order[items[item].layer].append(item)
                stack.extend(reversed(items[item].below))
    return order


def _sort_layer(items: Sequence[_Item], order: Sequence[Sequence[int]], layer: list[int], downwards: bool) -> None:
    """Sort a layer by the medians of its neighbours' places; what has none stays where it is."""
    if not layer:
        return
    beside = items[layer[0]].layer + (-1 if downwards else 1)
    place = {item: at for at, item in enumerate(order[beside])} if 0 <= beside < len(order) else {}
    wishes = {}
    for item in layer:
        near = sorted(place[other] for other in (items[item].above if downwards else items[item].below))
        if near:
            wishes[item] = (median_low(near) + near[len(near) // 2]) / 2
    free = iter(sorted(wishes, key=lambda item: (wishes[item], layer.index(item))))
    layer[:] = [next(free) if item in wishes else item for item in layer]


def _swap_neighbours(items: Sequence[_Item], order: Sequence[Sequence[int]], layer: list[int]) -> None:
    """Exchange two that stand side by side wherever that saves crossings."""
    number = items[layer[0]].layer if layer else 0
    sides = [(order[n], n < number) for n in (number - 1, number + 1) if 0 <= n < len(order)]
    places = [({item: at for at, item in enumerate(side)}, above) for side, above in sides]

    def crossings(left: int, right: int) -> int:
        total = 0
        for place, above in places:
            one, other = (items[i].above if above else items[i].below for i in (left, right))
            total += sum(place[a] > place[b] for a in one for b in other)
        return total

    for _ in range(len(layer)):
        better = False
        for at in range(len(layer) - 1):
            left, right = layer[at], layer[at + 1]
            if crossings(right, left) < crossings(left, right):
                layer[at], layer[at + 1] = right, left
                better = True
        if not better:
            return


def _crossings(items: Sequence[_Item], order: Sequence[Sequence[int]]) -> int:
    """Return how many pairs of edges cross between neighbouring layers."""
    total = 0
    for upper, lower in itertools.pairwise(order):
        place = {item: at for at, item in enumerate(lower)}
        ends = [at for item in upper for at in sorted(place[other] for other in items[item].below)]
        total += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return total


def _place(items: Sequence[_Item], order: Sequence[Sequence[int]], beside: float) -> None:
    """Give each item its place along its layer: near its neighbours' mean, in order, without touching."""
    for layer in order:
        at = 0.0
        for item in layer:
            items[item].at = at + items[item].width / 2
            at += items[item].width + beside
    for number, one in enumerate(items):
        above, below = ([(_pull(items, number, other), other) for other in side] for side in (one.above, one.below))
        one.pulls = {"above": above, "below": below, "both": above + below}
    for sweep in range(_SETTLING):
        near = ("above", "below")[sweep % 2] if sweep < _SETTLING // 4 else "both"
        sharp = sweep > _SETTLING // 2
        moved = 0.0
        for layer in order if sweep % 2 == 0 else reversed(order):
            moved = max(moved, _place_layer(items, layer, beside, near, sharp))
        if sharp and moved < _STILL:
            return


def _place_layer(items: Sequence[_Item], layer: Sequence[int], beside: float, near: str, sharp: bool) -> float:
    """Place a layer and return how far anything moved.

    `sharp` counts distances rather than their squares, which makes one large bend of many small ones.
    """
    wishes, weights, offsets = [], [], []
    offset = 0.0
    for at, number in enumerate(layer):
        item = items[number]
        if at:
            before = items[layer[at - 1]]
            offset += (before.width + item.width) / 2 + (beside if item.box or before.box else beside / 2)
        weight = wish = 0.0
        for pull, other in item.pulls[near]:
            place = items[other].at
            strength = pull / (abs(place - item.at) + 1) if sharp else pull
            weight += strength
            wish += strength * place
        wish = wish / weight if weight else item.at
        wishes.append(wish - offset)
        weights.append(weight or 0.1)
        offsets.append(offset)
    moved = 0.0
    for number, place, offset in zip(layer, _never_falling(wishes, weights), offsets, strict=True):
        moved = max(moved, abs(items[number].at - place - offset))
        items[number].at = place + offset
    return moved


def _pull(items: Sequence[_Item], one: int, other: int) -> float:
    """Return how much the edge between two items counts: most in the course of a long edge, and of a chain of boxes."""
    upper, lower = sorted((items[one], items[other]), key=lambda item: item.layer)
    if len(upper.below) == len(lower.above) == 1:
        return _STRAIGHT[2]
    return _STRAIGHT[(not upper.box) + (not lower.box)]


def _never_falling(wishes: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return the numbers, none below the one before it, that are nearest to the wishes by weighted squares."""
    blocks: list[tuple[float, float, int]] = []
    for wish, weight in zip(wishes, weights, strict=True):
        block = (wish, weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            value, total, count = blocks.pop()
            whole = total + block[1]
            block = ((value * total + block[0] * block[1]) / whole, whole, count + block[2])
        blocks.append(block)
    return [value for value, _, count in blocks for _ in range(count)]


def _measure(
    items: Sequence[_Item], order: Sequence[Sequence[int]], ways: dict[tuple[int, int], list[int]], boxes: int,
    between: float,
) -> Placed:  # fmt: skip
    """Give each layer its place, farther from the one above it the farther edges lead aside, and each edge its way."""
    left = min(item.at - item.width / 2 for item in items)
    middle, thick = [], []
    at = 0.0
    for number, layer in enumerate(order):
        tall = max((items[item].height for item in layer), default=0.0)
        if number:
            aside = max((abs(items[i].at - items[o].at) for i in layer for o in items[i].above), default=0.0)
            at += between + min(aside / 10, 2 * between)
        middle.append(at + tall / 2)
        thick.append(tall)
        at += tall
    routes = {}
    for edge, way in ways.items():
        points = [_out(items[way[0]], middle, left)]
        for number in way:
            item = items[number]
            place, half = item.at - left, thick[item.layer] / 2
            points += [(place, middle[item.layer] - half), (place, middle[item.layer] + half)]
        points[1:2] = []
        points[-1] = _out(items[way[-1]], middle, left, upwards=True)
        routes[edge] = tuple(points)
    centres = tuple((item.at - left, middle[item.layer]) for item in items[:boxes])
    width = max(item.at + item.width / 2 for item in items) - left
    return Placed(centres, routes, width, at)


def _out(item: _Item, middle: Sequence[float], left: float, *, upwards: bool = False) -> Point:
    """Return where an edge leaves a box downwards, or upwards."""
    return item.at - left, middle[item.layer] + item.height / (-2 if upwards else 2)
