"""How much of a tolerance a measurement uses: 1.0 is the limit, more is beyond it; decides no verdict.

Elementwise limits use the pair of the frontier that comes nearest to the limit; the others their distance from a
perfect result over the distance the limit allows. sqnr_db is turned into noise amplitude first.
"""

from __future__ import annotations

import math

from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.recipe.types import Bound, OutputTolerance
from onnxbuild.report.numbers import metric_change, metric_unit, number, percent, ratio
from onnxbuild.stages.validate import MetricMeasure

MEASURES = ("elementwise", "max_abs", "mean_abs", "cosine", "sqnr_db", "argmax_agreement")
"""What an OutputTolerance limits; "elementwise" is atol and rtol together."""


def limited(tolerance: OutputTolerance) -> tuple[str, ...]:
    """Return the names of the measures that `tolerance` limits."""
    elementwise = tolerance.atol is not None or tolerance.rtol is not None
    return tuple(m for m in MEASURES if (elementwise if m == "elementwise" else getattr(tolerance, m) is not None))


def limit_text(tolerance: OutputTolerance, measure: str) -> str:
    """Return one limit as people read it, such as "atol 1e-4 + rtol 1e-3" or "cosine at least 0.999"."""
    if measure == "elementwise":
        parts = [f"{k} {number(v)}" for k, v in (("atol", tolerance.atol), ("rtol", tolerance.rtol)) if v is not None]
        share = "" if tolerance.share == 1 else f" for {percent(tolerance.share, 2)}"
        return " + ".join(parts) + share
    limit = getattr(tolerance, measure)
    if measure == "argmax_agreement":
        return f"argmax agreement at least {percent(limit, 2)}"
    if measure == "sqnr_db":
        return f"SQNR at least {number(limit)} dB"
    if measure == "cosine":
        return f"cosine at least {limit:g}"
    share = f" for {percent(tolerance.share, 2)}" if measure == "max_abs" and tolerance.share < 1 else ""
    return f"{measure.replace('_', ' ')} at most {number(limit)}{share}"


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


def own_share(before: float, after: float) -> float:
    """Return what one step used of a limit: the cumulative share after it less that before; 0 between infinities."""
    return 0.0 if before == after else after - before


def share_text(share: float) -> str:
    """Return a share of a limit, such as "85%", "12x" or "no bound"."""
    if not math.isfinite(share):
        return "no bound"
    return percent(share) if share < 10 else ratio(share)


def metric_used(bound: Bound, measure: MetricMeasure) -> float | None:
    """Return the share of the allowed worsening of the metric against the source that is used; None if not known."""
    allowed = allowed_change(bound, measure)
    if allowed is None or measure.model is None or measure.source is None:
        return None
    worse = measure.source - measure.model if measure.higher_is_better else measure.model - measure.source
    room = -allowed if measure.higher_is_better else allowed
    if worse <= 0:
        return 0.0
    return math.inf if room <= 0 else worse / room


def allowed_change(bound: Bound, measure: MetricMeasure) -> float | None:
    """Return the limit as a difference to the source's metric, negative where lower is worse."""
    if measure.source is None:
        return None
    if bound.kind == "max_drop":
        return -bound.value if measure.higher_is_better else bound.value
    limit = bound.value * measure.source if bound.of is not None else bound.value
    return limit - measure.source


def metric_sentence(measure: MetricMeasure, bound: Bound | None) -> str:
    """Return what became of the metric, such as "accuracy −0.12 points, limit −0.50"."""
    name = measure.name.replace("_", " ")
    if measure.model is None or measure.source is None:
        return f"{name} could not be computed"
    change, unit = measure.model - measure.source, metric_unit(measure.name)
    text = f"{name} unchanged" if change == 0 else f"{name} {metric_change(measure.name, change)}{unit}"
    allowed = None if bound is None else allowed_change(bound, measure)
    if allowed is None:
        return text
    return f"{text}, limit {metric_change(measure.name, allowed)}{unit if change == 0 else ''}"


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
