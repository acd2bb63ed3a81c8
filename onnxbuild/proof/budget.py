"""How much of a tolerance a measurement uses: 1.0 is the limit, more is beyond it; decides no verdict.

Elementwise limits use the pair of the frontier that comes nearest to the limit; the others their distance from a
perfect result over the distance the limit allows. sqnr_db is turned into noise amplitude first.
"""

from __future__ import annotations

import math

from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.recipe.types import Bound, OutputTolerance

MEASURES = ("elementwise", "max_abs", "mean_abs", "cosine", "sqnr_db", "argmax_agreement")
"""What an OutputTolerance limits; "elementwise" is atol and rtol together."""


def limited(tolerance: OutputTolerance) -> tuple[str, ...]:
    """Return the names of the measures that `tolerance` limits."""
    elementwise = tolerance.atol is not None or tolerance.rtol is not None
    return tuple(m for m in MEASURES if (elementwise if m == "elementwise" else getattr(tolerance, m) is not None))


def used(tolerance: OutputTolerance, measure: str, measures: OutputMeasures) -> float | None:
    """Return the share of the limit on `measure` that the outputs use; None where it was not measured."""
    if measure == "elementwise":
        return _elementwise(tolerance, measures)
    limit, value = getattr(tolerance, measure), getattr(measures, measure)
    if limit is None or value is None:
        return None
    if measure == "max_abs" and tolerance.share < 1:
        return _loosened(tolerance, (limit, 0.0), measures)
    if isinstance(value, str):
        return 0.0 if measure == "sqnr_db" and value == "inf" else math.inf
    if measure in ("max_abs", "mean_abs"):
        return _over(value, limit)
    if measure == "sqnr_db":
        return float(10 ** ((limit - value) / 20))
    return _over(1 - value, 1 - limit)


def metric_used(bound: Bound, model: float | None, source: float | None, higher_is_better: bool) -> float | None:
    """Return the share of the allowed worsening of the metric against the source that is used; None if not known."""
    allowed = allowed_change(bound, source, higher_is_better)
    if allowed is None or model is None or source is None:
        return None
    worse = source - model if higher_is_better else model - source
    room = -allowed if higher_is_better else allowed
    if worse <= 0:
        return 0.0
    return math.inf if room <= 0 else worse / room


def allowed_change(bound: Bound, source: float | None, higher_is_better: bool) -> float | None:
    """Return the limit as a difference to the source's metric, negative where lower is worse."""
    if source is None:
        return None
    if bound.kind == "max_drop":
        return -bound.value if higher_is_better else bound.value
    limit = bound.value * source if bound.of is not None else bound.value
    return limit - source


def _elementwise(tolerance: OutputTolerance, measures: OutputMeasures) -> float | None:
    atol, rtol = tolerance.atol or 0.0, tolerance.rtol or 0.0
    if measures.max_abs is None:
        return _over(measures.unequal / (measures.elements or 1), 1 - tolerance.share)
    if tolerance.share < 1:
        return _loosened(tolerance, (atol, rtol), measures)
    if isinstance(measures.max_abs, str) or measures.nan_mismatches:
        return math.inf
    if not measures.frontier:
        return 0.0 if measures.max_abs == 0 else None
    return max(_over(difference, atol + rtol * reference) for difference, reference in measures.frontier)


def _loosened(tolerance: OutputTolerance, pair: tuple[float, float], measures: OutputMeasures) -> float | None:
    """Return the share used of a limit that only a share of the elements must hold."""
    for within in measures.within:
        if (within.atol, within.rtol) == pair:
            return _over(1 - within.share, 1 - tolerance.share)
    return None


def _over(value: float, limit: float) -> float:
    if value <= 0:
        return 0.0
    return math.inf if limit <= 0 else value / limit
