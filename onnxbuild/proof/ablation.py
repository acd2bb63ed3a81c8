"""Which layers a missed tolerance is due to: restored one at a time, or in groups that are split; runs no model itself.

What restoring does is always measured through the function that is passed in, never predicted: the error that a layer's
own output has says little about what the model's output gains.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence

import msgspec


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a model came to against a tolerance.

    `use` is the largest share of any limit that is used: 1 is a limit, more is beyond it, infinite where nothing can be
    compared. `sqnr_db` is the worst output's. `gate` tells of the limit that is used most: what was measured and what
    is required. `meets` is the gates' own verdict.
    """

    use: float
    sqnr_db: float
    meets: bool
    gate: str = ""
    bytes: int = 0

    def order(self) -> tuple[float, float]:
        """Return what sorts the better first: less of the tolerance used, then more dB."""
        return (math.inf if math.isnan(self.use) else self.use, math.inf if math.isnan(self.sqnr_db) else -self.sqnr_db)


Measure = Callable[[frozenset[str]], Measured | None]
"""Measures the model with these layers restored; None where it cannot be made, or the budget is spent."""


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A layer, or a group that was not split, with what the model came to when just that was restored."""

    layers: tuple[str, ...]
    measured: Measured


def rank(layers: Sequence[str], measure: Measure, budget: int, base: Measured | None = None) -> list[Ranked]:
    """Return `layers`, those first whose restoring alone gains most, after at most `budget` measurements.

    More layers than that are restored in runs of neighbours; of these the one that gains most is split first. Groups
    stay for what gains little. Where nothing alone is better than `base`, longer and longer runs of neighbours are
    restored together until one is: an overflow spreads from layer to layer until all of them are float again.
    """
    size = 1 if len(layers) <= budget else math.ceil(len(layers) / max(1, budget // 2))
    groups = [tuple(layers[start : start + size]) for start in range(0, len(layers), size)]
    done: list[Ranked] = []
    waiting: list[tuple[tuple[float, float], int, Ranked]] = []
    number = itertools.count()

    def take(group: tuple[str, ...]) -> None:
        measured = measure(frozenset(group))
        if measured is None:
            return
        ranked = Ranked(layers=group, measured=measured)
        if len(group) == 1:
            done.append(ranked)
        else:
            heapq.heappush(waiting, (measured.order(), next(number), ranked))

    for group in groups[:budget]:
        take(group)
    left = budget - len(groups)
    while waiting and left >= 2:
        _, _, ranked = heapq.heappop(waiting)
        half = len(ranked.layers) // 2
        take(ranked.layers[:half])
        take(ranked.layers[half:])
        left -= 2
    found = [*done, *(ranked for _, _, ranked in waiting)]
    if base is not None and size == 1:
        found += _together(layers, measure, left, base, found)
    return sorted(found, key=lambda ranked: ranked.measured.order())


def _together(
    layers: Sequence[str], measure: Measure, budget: int, base: Measured, alone: Sequence[Ranked]
) -> list[Ranked]:
    """Return runs of neighbours, each twice as long as the last, until one gains what no layer did alone."""
    found: list[Ranked] = []
    width = 2
    while width <= len(layers) and all(r.measured.order() >= base.order() for r in (*alone, *found)):
        for start in range(0, len(layers) - width + 1, width // 2):
            measured = measure(frozenset(layers[start : start + width])) if budget > 0 else None
            budget -= 1
            if measured is not None:
                found.append(Ranked(layers=tuple(layers[start : start + width]), measured=measured))
        width *= 2
    return [ranked for ranked in found if ranked.measured.order() < base.order()]
