"""Data, metric, tolerances, providers and gates of a merged recipe as values; knows nothing of files."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from onnxbuild.base.codec import Json, encode
from onnxbuild.recipe.bounds import metric_bound, node_bound, share_of, size_bound
from onnxbuild.recipe.draft import Draft
from onnxbuild.recipe.known import HIGHER_IS_BETTER, PROVIDERS
from onnxbuild.recipe.merge import merge
from onnxbuild.recipe.node import Node, Path, find, plain
from onnxbuild.recipe.raw import RawData, RawEvaluation, RawMetricLimit, RawOutputTolerance, RawTolerance
from onnxbuild.recipe.types import (
    Bound,
    DataSource,
    Evaluation,
    FileData,
    Function,
    LoaderData,
    Metric,
    OutputTolerance,
    Provider,
    RandomData,
    Tolerance,
)

DEFAULT_TOLERANCE = OutputTolerance(atol=1e-4, rtol=1e-3)
AVERAGED = frozenset({"f1", "precision", "recall", "roc_auc"})
_SHORT_NAMES = {full: short for short, full in PROVIDERS.items()}


def data_source(draft: Draft, section: str, raw: str | RawData | None) -> DataSource | None:
    """Return where the data of a section come from, or None when it does not say."""
    if isinstance(raw, str):
        return FileData(path=raw)
    if isinstance(raw, RawData) and draft.one_of((section, "data"), ("loader", "random")) is not None:
        if raw.loader is not None:
            file, _, name = raw.loader.rpartition(":")
            return LoaderData(function=Function(file=file, name=name, args=raw.args or {}))
        if raw.random is not None:
            return RandomData(seed=raw.random.seed or 0, samples=raw.random.samples or 64)
    draft.missing((section, "data"), "`data`", hint="data: data/test.npz")
    return None


def build_evaluation(draft: Draft) -> Evaluation | None:
    """Return the evaluation with only what its metric uses."""
    raw = draft.raw.evaluation
    if raw is None:
        return None
    data = data_source(draft, "evaluation", raw.data)
    metric = _metric(draft, raw)
    if data is None:
        return None
    if metric is None:
        return Evaluation(data=data, samples=raw.samples)
    plain_labels = raw.labels if raw.labels is not None else "labels"
    return Evaluation(
        data=data,
        metric=metric,
        samples=raw.samples,
        output=raw.output,
        axis=raw.axis if raw.axis is not None else -1,
        average=raw.average if metric.name in AVERAGED else None,
        labels=plain_labels,
        k=raw.k if raw.k is not None and metric.name == "top_k" else 5,
    )


def _metric(draft: Draft, raw: RawEvaluation) -> Metric | None:
    if raw.metric is None:
        return None
    if isinstance(raw.metric, str):
        return Metric(name=raw.metric, higher_is_better=HIGHER_IS_BETTER[raw.metric])
    if raw.metric.custom is None:
        draft.missing(("evaluation", "metric", "custom"), "`custom`", hint="custom: metrics.py:score")
        return None
    file, _, name = raw.metric.custom.rpartition(":")
    better = raw.metric.higher_is_better is not False
    return Metric(name=name, function=Function(file=file, name=name), higher_is_better=better)


def build_tolerance(draft: Draft) -> Tolerance:
    """Return the target's tolerance; when it names neither outputs nor a metric, the default on every output."""
    return _tolerance(draft, draft.raw.tolerance, ("tolerance",))


def build_providers(draft: Draft, tolerance: Tolerance) -> tuple[Provider, ...]:
    """Return the providers, each with its own tolerance merged over the target's; none named is cpu."""
    found = []
    for name, raw in (draft.raw.providers or {}).items():
        own = tolerance
        if raw is not None and raw.tolerance is not None:
            base = find(draft.node, ("tolerance",)) or Node({}, draft.value("providers", name))
            over = find(draft.node, ("providers", name, "tolerance"))
            merged = merge(base, over) if over is not None else base
            own = _tolerance(
                draft, msgspec.convert(plain(merged), RawTolerance), ("providers", name, "tolerance"), merged
            )
        found.append(
            Provider(
                name=_SHORT_NAMES.get(name, name),
                tolerance=own,
                min_nodes=node_bound(raw.min_nodes) if raw is not None and raw.min_nodes is not None else None,
                options=provider_options(raw.options or {}) if raw is not None else {},
                required=raw is not None and raw.required is True,
            )
        )
    return tuple(found) or (Provider(name="cpu", tolerance=tolerance),)


def provider_options(raw: Mapping[str, Json]) -> dict[str, str]:
    """Return a provider's options as ONNX Runtime takes them: texts, true as 1, a mapping as JSON."""
    return {name: _option_text(value) for name, value in raw.items() if value is not None}


def _option_text(value: Json) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return encode(value).decode() if isinstance(value, dict | list) else str(value)


def _tolerance(draft: Draft, raw: RawTolerance | None, path: Path, merged: Node | None = None) -> Tolerance:
    metric = _metric_limit(draft, raw.metric, (*path, "metric"), merged) if raw is not None else None
    outputs = {}
    for name, limits in ((raw.outputs if raw is not None else None) or {}).items():
        if limits is None:
            continue
        outputs[name] = _output_tolerance(limits)
        limited = any(getattr(limits, key) is not None for key in _MEASURES)
        if not limited and draft.broken.isdisjoint({"tolerance", "providers"}):
            message = f"`{'.'.join(map(str, path))}.outputs.{name}` limits nothing"
            place = draft.key(*path, "outputs", name)
            draft.error("missing-key", message, place, "tolerance", hint=f"one of {', '.join(_MEASURES)}")
    if not outputs and metric is None:
        raw_outputs = draft.raw.outputs or []
        outputs = dict.fromkeys(raw_outputs, DEFAULT_TOLERANCE)
    return Tolerance(outputs=outputs, metric=metric)


_MEASURES = tuple(name for name in RawOutputTolerance.__struct_fields__ if name != "share")


def _output_tolerance(raw: RawOutputTolerance) -> OutputTolerance:
    share = share_of(raw.share)
    return OutputTolerance(
        atol=raw.atol,
        rtol=raw.rtol,
        max_abs=raw.max_abs,
        mean_abs=raw.mean_abs,
        cosine=raw.cosine,
        sqnr_db=raw.sqnr_db,
        argmax_agreement=share_of(raw.argmax_agreement),
        share=1.0 if share is None else share,
    )


def _metric_limit(draft: Draft, raw: RawMetricLimit | None, path: Path, merged: Node | None) -> Bound | None:
    if raw is None:
        return None
    kinds = ("at_least", "at_most", "max_drop")
    written = [kind for kind in kinds if getattr(raw, kind) is not None]
    if merged is None or draft.has(*path):
        draft.one_of(path, kinds)
    if not written:
        draft.missing((*path, "at_least"), "a limit", hint="at_least: 99% of source")
        return None
    return metric_bound(written[0], getattr(raw, written[0]))


def build_size(draft: Draft, variant: str) -> Bound | None:
    """Return the size gate; a ratio to the variant itself does not apply."""
    gates = draft.raw.gates
    if gates is None or gates.size is None:
        return None
    if gates.size.at_most is None:
        draft.missing(("gates", "size", "at_most"), "`at_most`", hint="at_most: 2 MB")
        return None
    bound = size_bound(gates.size.at_most)
    return None if bound.of == variant else bound
