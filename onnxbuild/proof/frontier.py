"""The few (|x - r|, |r|) pairs that decide every elementwise limit; knows no limits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
EMPTY: Doubles = np.empty((0, 2))


def extend_frontier(frontier: Doubles, d: Doubles, size: Doubles) -> Doubles:
    """Return the frontier [n, 2] of `frontier` and new pairs (d, size), by falling difference.

    A pair is left out where another has at least its difference at no larger reference, since |x - r| <= atol +
    rtol |r| is then no harder to keep; so are zero and infinite differences, which keep every limit or none. This
    is the Pareto front (Kung, Luccio and Preparata 1975, in two dims: one sort and a running minimum).
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
    return np.asarray(pairs[keep])
