"""The few (|x - r|, |r|) pairs that decide every elementwise limit; knows no limits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
EMPTY: Doubles = np.empty((0, 2))
LIMIT = 256
"""Pairs above which only the hull is kept: errors in proportion to the reference dominate none of one another."""


def extend_frontier(frontier: Doubles, d: Doubles, size: Doubles) -> Doubles:
    """Return the frontier [n, 2] of `frontier` and new pairs (d, size), by falling difference.

    A pair is left out where another has at least its difference at no larger reference, since |x - r| <= atol +
    rtol |r| is then no harder to keep; so are zero and infinite differences, which keep every limit or none. This
    is the Pareto front (Kung, Luccio and Preparata 1975, in two dims: one sort and a running minimum). Of more than
    LIMIT pairs only the vertices of the upper hull stay, since a limit is a line: it decides the same within rounding.
    """
    wanted = (d > 0) & np.isfinite(d)
    if wanted.any():
        worst = int(np.argmax(np.where(wanted, d, 0)))
        wanted &= size < size[worst]
        wanted[worst] = True
    d, size = d[wanted], size[wanted]
    if len(frontier) and len(d):
        # Of the kept pairs with at least this difference, the last has the smallest reference.
        last = len(frontier) - np.searchsorted(frontier[::-1, 0], d, side="left") - 1
        new = (last < 0) | (size < frontier[np.maximum(last, 0), 1])
        d, size = d[new], size[new]
    pairs = np.concatenate([frontier, np.stack([d, size], axis=1)])
    pairs = pairs[np.lexsort((pairs[:, 1], -pairs[:, 0]))]
    smallest = np.minimum.accumulate(pairs[:, 1])
    keep = np.ones(len(pairs), np.bool_)
    keep[1:] = pairs[1:, 1] < smallest[:-1]
    pairs = pairs[keep]
    return _upper_hull(pairs) if len(pairs) > LIMIT else np.asarray(pairs)


def _upper_hull(pairs: Doubles) -> Doubles:
    """Return the vertices of the upper hull of pairs that fall in both columns, in the same order.

    Most pairs fall below the chords between a few that are extreme along some slope; the rest go through the
    monotone chain (Andrew 1979).
    """
    d, size = pairs[::-1, 0], pairs[::-1, 1]
    chosen = np.unique(np.linspace(0, len(d) - 1, 65).astype(np.int64))
    for _ in range(2):
        with np.errstate(over="ignore", invalid="ignore"):  # of doubles near their end; any choice is right, if slow
            slopes = np.diff(d[chosen]) / np.diff(size[chosen])
            extreme = [int(np.argmax(d - slope * size)) for slope in slopes]
        chosen = np.unique(np.array([0, *extreme, len(d) - 1]))
    above = d > np.interp(size, size[chosen], d[chosen]) * (1 + 4 * np.finfo(np.float64).eps)
    above[chosen] = True
    hull: list[tuple[float, float]] = []
    for new_d, new_size in zip(d[above].tolist(), size[above].tolist(), strict=True):
        while len(hull) > 1 and _is_below(hull[-2], hull[-1], (new_d, new_size)):
            hull.pop()
        hull.append((new_d, new_size))
    return np.array(hull[::-1])


def _is_below(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    """Return whether `middle` lies on or below the chord; pairs are (difference, reference size)."""
    return (middle[0] - left[0]) * (right[1] - left[1]) <= (right[0] - left[0]) * (middle[1] - left[1])
