"""The validate stage: a model's outputs on the data's calls and at edges, measured against the source's.

Decides nothing.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.proof.measures import MetricIntervals, OutputMeasures
from onnxbuild.proof.sizes import SizeMeasures
from onnxbuild.recipe.providers import TABLE
from onnxbuild.recipe.types import Function, Metric, Session
from onnxbuild.stages.packages import ONNXRUNTIME, PRELOAD
from onnxbuild.stages.stage import Stage, Workspace
from onnxbuild.stages.tune import session_of, threads_of

if TYPE_CHECKING:  # numpy and onnxruntime are not for those who only plan: the stage table is read by every command
    import numpy as np
    from onnxruntime import InferenceSession

    from onnxbuild.data.calls import Calls
    from onnxbuild.proof.metrics import Scorer

OF_CLASSES = frozenset({"accuracy", "top_k", "f1", "precision", "recall", "roc_auc"})
"""Metrics that say little where the labels have one class only."""


class Within(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of elementwise limits whose share of elements within is to be counted (only for `share` tolerances)."""

    output: str
    atol: float
    rtol: float


class ValidateParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of validate. Inputs: `model`, `calls`, `reference`, `labels` (if any); file `metric` if custom.

    Further inputs `edges` and `edges_reference` where the model is to be tried at the edges of its dynamic axes.

    `output` is the one the metric is of, None the model's first.
    """

    provider: str
    session: Session
    metric: Metric | None
    output: str | None
    axis: int
    average: str | None
    k: int
    options: dict[str, str] = {}
    within: tuple[Within, ...] = ()


class MetricMeasure(msgspec.Struct, frozen=True, kw_only=True):
    """The task metric of the model and of the source, on the same samples; None where it is NaN or infinite.

    `intervals` None: there are none, as of a custom metric.
    """

    name: str
    model: float | None
    source: float | None
    higher_is_better: bool
    intervals: MetricIntervals | None = None


class ValidateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; no artifact. `outputs` in the recipe's order; `sizes` None where edges were not asked for.

    `absent` says why there is no such provider here: then nothing was measured.
    """

    calls: int
    samples: int
    outputs: tuple[OutputMeasures, ...]
    metric: MetricMeasure | None = None
    sizes: tuple[SizeMeasures, ...] | None = None
    absent: str | None = None


def run(params: ValidateParams, work: Workspace) -> ValidateFacts:
    """Run the model on every call, one at a time, and measure its outputs and metric. Raises StageFailure."""
    from onnxbuild.data.calls import read_calls
    from onnxbuild.ir.model import MODEL
    from onnxbuild.ort.providers import Absent, open_on
    from onnxbuild.proof.compare import Comparison
    from onnxbuild.proof.walk import check_reference, count_rows, walk

    opened = open_on(work.inputs["model"] / MODEL, params.provider, params.options, session_of(params.session, work))
    if isinstance(opened, Absent):
        return ValidateFacts(calls=0, samples=0, outputs=(), absent=opened.why)
    session = opened.session
    calls, reference = read_calls(work.inputs["calls"]), read_calls(work.inputs["reference"])
    names = [value.name for value in session.get_outputs()]
    check_reference(names, calls, reference)
    labels = read_calls(work.inputs["labels"])[0]["labels"] if "labels" in work.inputs else None
    comparisons = [Comparison(name, _within(params, name), params.axis) for name in names]

    def outputs(scored: Mapping[str, Scorer]) -> Iterator[dict[str, np.ndarray]]:
        return walk(session, calls, reference, comparisons, scored)

    if params.metric is None:
        deque(outputs({}), maxlen=0)
        metric = None
    elif params.metric.function is not None:
        metric = _measure_custom(params.metric, params.metric.function, outputs({}), (calls, reference, labels), work)
    else:
        output = params.output or names[0]
        metric = _measure_known(params, params.metric, output, (reference, labels), outputs, work)
    return ValidateFacts(
        calls=len(calls),
        samples=sum(count_rows(call) for call in calls) if labels is None else int(labels.shape[0]),
        outputs=tuple(comparison.result() for comparison in comparisons),
        metric=metric,
        sizes=_measure_sizes(params, work, session) if "edges" in work.inputs else None,
    )


def _measure_sizes(params: ValidateParams, work: Workspace, session: InferenceSession) -> tuple[SizeMeasures, ...]:
    from onnxbuild.data.edges import read_edges
    from onnxbuild.proof.edge_walk import measure_sizes

    edges, reference = read_edges(work.inputs["edges"]), read_edges(work.inputs["edges_reference"])
    sizes = tuple(measure_sizes(session, edges, reference, params.axis))
    for size in sizes:
        if size.untried is not None:
            work.warn("size-not-tried", f"{size.edge.name} stays unverified: {size.untried}")
    return sizes


def _measure_known(
    params: ValidateParams,
    metric: Metric,
    output: str,
    truth: tuple[Calls, np.ndarray | None],
    outputs: Callable[[Mapping[str, Scorer]], Iterator[dict[str, np.ndarray]]],
    work: Workspace,
) -> MetricMeasure:
    """Score the source's outputs, then the model's, on the same samples with the same threshold."""
    from onnxbuild.proof.bootstrap import metric_intervals
    from onnxbuild.proof.metrics import Scorer, Setting, decide_threshold

    reference, labels = truth
    if labels is None:
        raise StageFailure("data-lacks-array", f"the metric {metric.name} needs labels and the data has none")
    if output not in reference.names:
        raise StageFailure("metric-does-not-apply", f"there is no output '{output}' to evaluate")
    if metric.name in OF_CLASSES and labels.size > 1 and len(set(labels.reshape(-1).tolist())) == 1:
        told = f"the labels have one class only, {labels.reshape(-1)[0]}: {metric.name} cannot tell models apart by it"
        work.warn("one-class", told)
    setting = Setting(name=metric.name, axis=params.axis, average=params.average, k=params.k)
    threshold = decide_threshold(call[output] for call in reference)
    setting = msgspec.structs.replace(setting, threshold=threshold)
    source, model = Scorer(setting, labels), Scorer(setting, labels)
    for call in reference:
        source.add(call[output])
    found = source.result()
    deque(outputs({output: model}), maxlen=0)
    measure = _metric_measure(metric, model.result(), found)
    samples = int(labels.shape[0]) if labels.ndim else 1
    intervals = metric_intervals(metric.name, model.aligned(), source.aligned(), samples, metric.higher_is_better)
    return msgspec.structs.replace(measure, intervals=intervals)


def _measure_custom(
    metric: Metric,
    function: Function,
    outputs: Iterator[dict[str, np.ndarray]],
    truth: tuple[Calls, Calls, np.ndarray | None],
    work: Workspace,
) -> MetricMeasure:
    """Give the user's function all outputs at once; the model's wait on disk until the last call has run."""
    from onnxbuild.data.calls import read_calls, write_calls
    from onnxbuild.proof.custom_metric import score_custom

    calls, reference, labels = truth
    spilled = work.scratch / "outputs"
    write_calls(spilled, outputs)
    model = score_custom(work.files["metric"], function, read_calls(spilled), labels, calls)
    source = score_custom(work.files["metric"], function, reference, labels, calls)
    return _metric_measure(metric, model, source)


def _metric_measure(metric: Metric, model: float, source: float) -> MetricMeasure:
    return MetricMeasure(
        name=metric.name,
        model=model if math.isfinite(model) else None,
        source=source if math.isfinite(source) else None,
        higher_is_better=metric.higher_is_better,
    )


def _within(params: ValidateParams, output: str) -> tuple[tuple[float, float], ...]:
    return tuple((w.atol, w.rtol) for w in params.within if w.output == output)


VALIDATE = Stage(
    name="validate",
    version=6,
    params=ValidateParams,
    facts=ValidateFacts,
    run=run,
    packages=lambda params: ("ml-dtypes", "numpy", ONNXRUNTIME, *TABLE[params.provider].distributions),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda params: params.metric is not None and params.metric.function is not None,
    only_reads=True,
    hardware=lambda _: True,
    devices=lambda params: params.provider != "cpu",
    threads=lambda params, told: threads_of(params.session, told),
    cores=lambda params: params.session.intra_op_threads == 0,
)
