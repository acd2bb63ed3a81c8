"""Tolerances and how much of one is used, in words for pages; what is used is proof.budget's to tell."""

from __future__ import annotations

import math

from onnxbuild.proof import budget
from onnxbuild.proof.budget import MEASURES, limited, used
from onnxbuild.recipe.types import Bound, OutputTolerance
from onnxbuild.report.numbers import metric_change, metric_unit, number, percent, ratio
from onnxbuild.stages.validate import MetricMeasure

__all__ = ["MEASURES", "limit_text", "limited", "metric_sentence", "metric_used", "own_share", "share_text", "used"]


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
    return budget.metric_used(bound, measure.model, measure.source, measure.higher_is_better)


def metric_sentence(measure: MetricMeasure, bound: Bound | None) -> str:
    """Return what became of the metric, such as "accuracy −0.12 points, limit −0.50"."""
    name = measure.name.replace("_", " ")
    if measure.model is None or measure.source is None:
        return f"{name} could not be computed"
    change, unit = measure.model - measure.source, metric_unit(measure.name)
    text = f"{name} unchanged" if change == 0 else f"{name} {metric_change(measure.name, change)}{unit}"
    allowed = None if bound is None else _allowed(bound, measure)
    if allowed is None:
        return text
    return f"{text}, limit {metric_change(measure.name, allowed)}{unit if change == 0 else ''}"


def _allowed(bound: Bound, measure: MetricMeasure) -> float | None:
    return budget.allowed_change(bound, measure.source, measure.higher_is_better)
