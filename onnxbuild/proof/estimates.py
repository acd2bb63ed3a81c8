"""Samples of time to estimates with intervals, over blocks of neighbours and over sessions; pure, always the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

from onnxbuild.proof.timing import CONFIDENCE, Estimate, Latency, Versus

RESAMPLES = 1000
MOST_POINTS = 2048
"""Samples are thinned to so many before they are resampled, which widens intervals, never narrows them."""
BLOCKS = 64
"""Blocks of neighbouring runs are drawn, not single runs: a slow moment slows its neighbours too."""
CURVE = np.linspace(0, 100, 201)
_PERCENTILES = (50, 90, 95, 99)


def latency_of(samples: Sequence[int], batch: int, openings: Sequence[int] = ()) -> Latency:
    """Return what the samples, nanoseconds of calls of `batch` rows, come to.

    `openings` are the samples of each session, where several were opened: then an interval is at least as wide as what
    differs from one session to the next, which within one of them shows nowhere.
    """
    times = np.asarray(samples, np.float64) / 1e6
    values = np.percentile(times, _PERCENTILES)
    lows, highs = _interval(times[:, None], lambda drawn: np.percentile(drawn[..., 0], _PERCENTILES, axis=1))
    if len(openings) > 1:
        parts = np.split(times, np.cumsum(openings)[:-1])
        spreads = [_spread(each) for each in zip(*(np.percentile(part, _PERCENTILES) for part in parts), strict=True)]
        lows = [min(low, value * least) for low, value, (least, _) in zip(lows, values, spreads, strict=True)]
        highs = [max(high, value * most) for high, value, (_, most) in zip(highs, values, spreads, strict=True)]
    found = {
        f"p{p}": _estimate(value, low, high if _is_bounded(len(times), p / 100) else None)
        for p, value, low, high in zip(_PERCENTILES, values, lows, highs, strict=True)
    }
    mean = float(times.mean())
    return Latency(
        batch=batch,
        runs=len(times),
        **found,
        mean=_rounded(mean),
        std=_rounded(float(times.std(ddof=1)) if len(times) > 1 else 0.0),
        min=_rounded(float(times.min())),
        max=_rounded(float(times.max())),
        throughput=_rounded(1e3 * batch / mean),
        curve=tuple(_rounded(float(t)) for t in np.percentile(times, CURVE)),
    )


def versus_of(own: Sequence[int], other: Sequence[int], batch: int, openings: Sequence[int] = ()) -> Versus:
    """Return what both sides of the rounds come to, and the ratio of their medians.

    `openings` are the rounds of each pair of sessions, where several were opened: then the interval is of what differs
    from one pair to the next, because how a session comes to lie in memory makes it faster or slower by itself.
    """
    pairs = np.stack([np.asarray(own, np.float64), np.asarray(other, np.float64)], axis=1)
    medians = np.median(pairs, axis=0)
    if len(openings) > 1:
        parts = np.split(pairs, np.cumsum(openings)[:-1])
        ratios = np.array([_ratio(np.median(part, axis=0)) for part in parts])
        low, high = (math.exp(np.log(ratios).mean()) * end for end in _spread(ratios))
    else:
        (low,), (high,) = _interval(pairs, lambda drawn: _ratio(np.median(drawn, axis=1))[None])
    return Versus(
        batch=batch,
        rounds=len(pairs),
        ratio=_estimate(float(_ratio(medians)), low, high if _is_bounded(len(pairs), 0.5) else None),
        own=latency_of(own, batch, openings),
        other=latency_of(other, batch, openings),
    )


def middle_of(values: Sequence[int]) -> Estimate:
    """Return the median of a few values with the least and the most of them as its interval."""
    return Estimate(float(np.median(values)), float(min(values)), float(max(values)))


def _ratio(medians: np.ndarray) -> np.ndarray:
    """Return how many times as long the second column takes as the first."""
    return np.asarray(medians[..., 1] / np.maximum(medians[..., 0], 1.0))


def _interval(
    columns: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]
) -> tuple[Sequence[float], Sequence[float]]:
    """Return the lower and upper ends for each of the statistics, which get (resamples, points, columns).

    Neighbours stay together, two by two: of two rounds in turns each has another side first.
    """
    step = max(1, math.ceil(len(columns) / MOST_POINTS))
    thinned = columns[np.arange(len(columns)) // 2 % step == 0]
    length = max(1, len(thinned) // BLOCKS)
    length -= length % 2 if length > 1 else 0
    blocks = len(thinned) // length
    shaped = thinned[: blocks * length].reshape(blocks, length, -1)
    chosen = np.random.default_rng(0).integers(blocks, size=(RESAMPLES, blocks))
    drawn = shaped[chosen].reshape(RESAMPLES, blocks * length, -1)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(statistic(drawn), (tail, 100 - tail), axis=1)
    return low.tolist(), high.tolist()


def _spread(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return the interval of the geometric mean of a few values, as factors of it: Student's, of their logarithms.

    A studentized bootstrap would know no end as soon as one of the values lies far from the others.
    """
    logs = np.log(np.maximum(values, 1e-6))
    error = float(logs.std(ddof=1)) / math.sqrt(len(logs))
    reach = math.exp(_student(len(logs) - 1) * error)
    return 1 / reach, reach


def _student(freedom: int) -> float:
    """Return the quantile of Student's t that bounds CONFIDENCE from above, by Cornish and Fisher's series.

    It is 0.2 % short at 7 degrees of freedom and nearer with more.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum(float(term / freedom**power) for power, term in enumerate(terms))


def _is_bounded(samples: int, share: float) -> bool:
    """Whether the largest of the samples is above the percentile, as good as certainly: else nothing bounds it."""
    return share**samples <= 1 - CONFIDENCE


def _estimate(value: float, low: float, high: float | None) -> Estimate:
    """Return an estimate whose interval holds its value, for the value is of all samples, not of the thinned ones."""
    ends = (_rounded(min(low, value)), None if high is None else _rounded(max(high, value)))
    return Estimate(_rounded(float(value)), *ends)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
