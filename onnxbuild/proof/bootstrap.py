"""How far a metric may be off for having seen just these samples: bootstrap intervals; knows no limits.

Percentile bootstrap (Efron 1979; Efron and Tibshirani 1993, chapter 13): the metric is computed again on many draws,
with replacement, of as many samples. Draws are paired: model and source see the same ones, because what they get wrong
they mostly get wrong together. A sample is a row of the labels, and its predictions stay together (Davison and Hinkley
1997, section 3.8). The draws are the same each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from onnxbuild.proof.measures import MetricIntervals
from onnxbuild.proof.metrics import Aligned
from onnxbuild.proof.paired_sums import Paired, paired_sums

Doubles = NDArray[np.float64]

RESAMPLES, FEWEST = 1000, 200
WORK, WORK_RANKED = 4_000_000, 1_000_000
"""Drawn samples in all, above which there are fewer draws; scores in all for roc_auc."""
MOST_RANKED = 100_000
"""Scores above which roc_auc has no interval: ranks cannot be added up group by group."""
QUANTILES = (0.025, 0.975)
DEFINED = 0.95
"""The share of draws on which the metric must be defined for there to be an interval."""


def metric_intervals(
    name: str, model: Aligned | None, source: Aligned | None, samples: int, higher_is_better: bool
) -> MetricIntervals | None:
    """Return the intervals of a known metric over `samples` samples; None where there is no telling."""
    if model is None or source is None or samples < 2 or len(model.predicted) != len(source.predicted):
        return None
    if name == "roc_auc":
        if model.predicted.size > MOST_RANKED:
            return None
        drawn = _draw_roc_auc(model, source)
    else:
        drawn = _draw_sums(paired_sums(name, model, source, samples))
    return _intervals(*drawn, higher_is_better)


def _draw_sums(paired: Paired) -> tuple[Doubles, Doubles]:
    """Return the metric of model and source for each draw, from the sums of what its samples contribute."""
    rows = np.concatenate([paired.model, paired.source], axis=1)
    sums = np.concatenate([weights @ rows for weights in _weights(paired.counts, WORK)])
    width = paired.model.shape[1]
    return paired.formula(sums[:, :width]), paired.formula(sums[:, width:])


def _weights(counts: NDArray[np.int64], work: int) -> Iterator[Doubles]:
    """Yield how often each row is drawn, [draws, rows] at a time; `counts` says how many equal samples a row is."""
    random = np.random.RandomState(0)  # its streams never change between numpy releases
    rows = len(counts)
    draws = int(np.clip(work // rows, FEWEST, RESAMPLES))
    total = int(counts.sum())
    if total > rows:
        yield random.multinomial(total, counts / total, draws).astype(np.float64)
        return
    step = max(WORK // 4 // rows, 1)
    for start in range(0, draws, step):
        some = min(step, draws - start)
        drawn = random.randint(0, rows, (some, rows), dtype=np.int32) + rows * np.arange(some)[:, None]
        yield np.bincount(drawn.reshape(-1), minlength=some * rows).reshape(some, rows).astype(np.float64)


def _draw_roc_auc(model: Aligned, source: Aligned) -> tuple[Doubles, Doubles]:
    counts, columns = np.ones(len(model.predicted), np.int64), model.predicted.shape[1]
    ranked = [_rank(aligned) for aligned in (model, source)]
    parts = [[area(weights) for area in ranked] for weights in _weights(counts, WORK_RANKED // columns)]
    return np.concatenate([m for m, _ in parts]), np.concatenate([s for _, s in parts])


def _rank(aligned: Aligned) -> Callable[[Doubles], Doubles]:
    """Return a function of draws [n, samples] that gives each one's area, the mean over classes against the rest."""
    scores, labels = aligned.predicted, aligned.labels
    columns = (
        [(scores[:, -1], labels == 1)]
        if scores.shape[1] <= 2
        else [(scores[:, c], labels == c) for c in range(scores.shape[1])]
    )
    orders = [(np.argsort(values, kind="stable"), values, positive) for values, positive in columns]

    def areas(weights: Doubles) -> Doubles:
        found = [_areas(weights[:, order], values[order], positive[order]) for order, values, positive in orders]
        return np.asarray(np.mean(found, axis=0))

    return areas


def _areas(weights: Doubles, values: Doubles, positive: NDArray[np.bool_]) -> Doubles:
    """Return the Mann-Whitney statistic of weighted samples in rising order of `values`; ties count half."""
    if np.isnan(values).any():
        return np.full(len(weights), np.nan)
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    positives = np.add.reduceat(weights * positive, starts, axis=1)
    negatives = np.add.reduceat(weights * ~positive, starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((positives * below).sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1)))


def _intervals(model: Doubles, source: Doubles, higher_is_better: bool) -> MetricIntervals | None:
    defined = np.isfinite(model) & np.isfinite(source)
    if defined.mean() < DEFINED:
        return None
    model, source = model[defined], source[defined]
    ratio = _interval(model / source) if (source > 0).all() else None
    drop = source - model if higher_is_better else model - source
    return MetricIntervals(value=_interval(model), drop=_interval(drop), ratio=ratio, resamples=len(model))


def _interval(values: Doubles) -> tuple[float, float]:
    low, high = np.quantile(values, QUANTILES)
    return float(low), float(high)
