"""Limits on the metric: right direction, inside the metric's range, and a metric to limit; reads no file."""

from __future__ import annotations

from onnxbuild.recipe.draft import Draft
from onnxbuild.recipe.known import METRIC_RANGE
from onnxbuild.recipe.node import Path
from onnxbuild.recipe.types import Bound, Metric, RandomData, Target


def check_metric_limits(draft: Draft, target: Target) -> None:
    """Note a metric that has no labels, and every limit on a metric that cannot be meant."""
    evaluation = target.evaluation
    metric = evaluation.metric if evaluation is not None else None
    if evaluation is not None and metric is not None and isinstance(evaluation.data, RandomData):
        message = f"the metric {metric.name} needs labels, and random data have none"
        place = draft.value("evaluation", "metric")
        draft.error(
            "labels-missing", message, place, "evaluation", hint="name data with labels, or leave the metric out"
        )
    written: list[tuple[Path, Bound | None]] = [(("tolerance", "metric"), target.tolerance.metric)]
    for name, provider in zip(draft.raw.providers or {}, target.providers, strict=False):
        written.append((("providers", name, "tolerance", "metric"), provider.tolerance.metric))
    for path, bound in written:
        if bound is None or not draft.has(*path):
            continue
        if metric is None:
            hint = "add `metric: accuracy` under `evaluation`"
            draft.error("metric-missing", "a limit on the metric, but `evaluation` names none", draft.key(*path),
                        str(path[0]), hint=hint)  # fmt: skip
            continue
        problem = _problem(metric, bound)
        if problem is not None:
            code, message, hint = problem
            draft.error(code, message, draft.value(*path, bound.kind), str(path[0]), hint=hint)


def _problem(metric: Metric, bound: Bound) -> tuple[str, str, str] | None:
    wrong = "at_most" if metric.higher_is_better else "at_least"
    if bound.kind == wrong:
        right, sense = ("at_least", "higher") if metric.higher_is_better else ("at_most", "lower")
        return (
            "wrong-direction",
            f"{metric.name} is better when {sense}, so `{wrong}` cannot be its limit",
            f"`{right}`",
        )
    if bound.of is not None:
        if bound.value <= 0:
            return "limit-out-of-range", "a share of the source's metric must be above 0%", "99% of source"
        return None
    low, high = METRIC_RANGE.get(metric.name, (None, None))
    if bound.kind == "max_drop":
        low, high = 0, (high - low if low is not None and high is not None else None)
    inside = (low is None or bound.value >= low) and (high is None or bound.value <= high)
    if inside:
        return None
    what = "a drop of " + metric.name if bound.kind == "max_drop" else metric.name
    span = (
        f"from {low} to {high}" if None not in (low, high) else f"{low} or more" if high is None else f"at most {high}"
    )
    percent = high == 1 and 1 < bound.value <= 100
    hint = f"write {bound.value / 100:g} or '{bound.value:g}%'" if percent else "choose a limit inside the range"
    return "limit-out-of-range", f"{what} is {span}, so {bound.value:g} is no limit for it", hint
