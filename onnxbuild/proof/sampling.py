"""Running a call again and again and keeping every time it took; the clock comes in from outside."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

Run = Callable[[], object]
Clock = Callable[[], int]
"""Nanoseconds from some point on."""

SECOND = 1_000_000_000
LEAST, MOST = 5, 50_000
"""Samples of one measurement, whatever time they take."""
WINDOW, WINDOW_TIME = 5, SECOND // 50
STEADY = 0.05
"""Two windows of warm-up whose medians differ by less follow each other: the model is warm."""


def warm_up(run: Run, clock: Clock, seconds: float) -> int:
    """Run until two windows in a row take about as long, for `seconds` at most, and return how often."""
    began = clock()
    before: float | None = None
    count = 0
    while True:
        window = collect(run, clock, WINDOW_TIME / SECOND, least=WINDOW)
        count += len(window)
        now = median(window)
        steady = before is not None and abs(now - before) <= STEADY * before
        if steady or clock() - began >= seconds * SECOND:
            return count
        before = now


def collect(run: Run, clock: Clock, seconds: float, *, least: int = LEAST) -> list[int]:
    """Run for `seconds` and return what each run took in nanoseconds; at least `least` runs, at most MOST."""
    samples: list[int] = []
    began = last = clock()
    until = began + seconds * SECOND
    while len(samples) < least or (last < until and len(samples) < MOST):
        start = clock()
        run()
        last = clock()
        samples.append(last - start)
    return samples


def alternate(own: Run, other: Run, clock: Clock, seconds: float) -> tuple[list[int], list[int]]:
    """Run both in turns, the order changing from round to round, for `seconds` in all; return what each run took."""
    taken: tuple[list[int], list[int]] = [], []
    began = last = clock()
    until = began + seconds * SECOND
    while len(taken[0]) < LEAST or (last < until and len(taken[0]) < MOST):
        order = ((0, own), (1, other)) if len(taken[0]) % 2 == 0 else ((1, other), (0, own))
        for side, run in order:
            start = clock()
            run()
            last = clock()
            taken[side].append(last - start)
    return taken
