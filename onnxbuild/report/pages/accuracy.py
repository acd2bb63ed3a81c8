"""How far a target is from its source after each step: tolerance spent, all measures, error histograms."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.recipe.types import Bound, OutputTolerance, Tolerance
from onnxbuild.report import budget, numbers
from onnxbuild.report.charts import histogram, waterfall
from onnxbuild.report.facts import StepFacts, TargetFacts
from onnxbuild.report.pages import ledger
from onnxbuild.report.pages.table import Cell, Column, Row, Table, cap_rows
from onnxbuild.stages.validate import ValidateFacts

_LEGEND = (("spent", "spent by the step"), ("less", "won back"), ("beyond", "beyond the limit"), ("limit", "limit"))
MOST_OUTPUTS = 4
"""Outputs with a column in the waterfall and a histogram; the table of measures has all."""


@dataclass(frozen=True)
class Histogram:
    """The errors of one output, a row a step."""

    title: str
    note: str
    rows: tuple[tuple[str, Markup], ...]


@dataclass(frozen=True)
class Accuracy:
    """What one provider's outputs are worth."""

    provider: str
    samples: str
    spent: Table
    metric: Table | None
    limits: Table | None
    sizes: Table | None
    measures: Table
    histograms: tuple[Histogram, ...]
    more: str
    doubt: str


@dataclass(frozen=True)
class _Budget:
    label: str
    limit: str
    bounded: bool
    used: list[float | None]
    values: list[str]


def accuracy(target: TargetFacts) -> tuple[Accuracy, ...]:
    """Return one part a provider on which the target was validated."""
    providers = dict.fromkeys(a.provider for step in target.steps for a in step.accuracy)
    return tuple(_provider(target, provider) for provider in providers)


def _provider(target: TargetFacts, provider: str) -> Accuracy:
    measured = [(step, _of(step, provider)) for step in target.steps]
    last = next(facts for _, facts in reversed(measured) if facts is not None)
    tolerance = target.declared.tolerances.get(provider, Tolerance())
    names = [output.name for output in last.outputs]
    budgets = [_output_budget(name, tolerance.outputs[name], measured) for name in names if name in tolerance.outputs]
    budgets.sort(key=lambda b: -(b.used[-1] if b.used and b.used[-1] is not None else 0.0))
    more = len(budgets) - MOST_OUTPUTS
    simulator = target.simulator(provider)
    budgets = [*_metric_budget(tolerance.metric, last, measured), *budgets[:MOST_OUTPUTS]]
    return Accuracy(
        provider=provider,
        samples=f"{numbers.plural(last.samples, 'sample')} in {numbers.plural(last.calls, 'call')}",
        spent=_spent_table(measured, budgets, provider),
        metric=ledger.metric_table(measured, tolerance.metric),
        limits=ledger.limits_table(measured, tolerance) if budgets else None,
        sizes=ledger.sizes_table(target, measured, tolerance),
        measures=_measures_table(measured),
        histograms=tuple(_histograms(measured, names, tolerance)),
        more=f"{numbers.plural(more, 'more output')} with a tolerance in the table of measures." if more > 0 else "",
        doubt="" if simulator is None else f"That is {simulator}, which proves nothing of a device. ",
    )


def _of(step: StepFacts, provider: str) -> ValidateFacts | None:
    return next((a.facts for a in step.accuracy if a.provider == provider), None)


_Measured = list[tuple[StepFacts, ValidateFacts | None]]


def _output_budget(name: str, tolerance: OutputTolerance, measured: _Measured) -> _Budget:
    outputs = [_output(facts, name) for _, facts in measured]
    last = next((o for o in reversed(outputs) if o is not None), None)
    limits = budget.limited(tolerance)
    shares = {m: budget.used(tolerance, m, last) if last else None for m in limits}
    known = [m for m in limits if shares[m] is not None]
    tightest = max(known or limits, key=lambda m: shares[m] or 0.0, default="elementwise")
    return _Budget(
        label=name,
        limit=budget.limit_text(tolerance, tightest) + (f" (tightest of {len(limits)})" if len(limits) > 1 else ""),
        bounded=True,
        used=[budget.used(tolerance, tightest, o) if o else None for o in outputs],
        values=[_value(tightest, o) if o else "" for o in outputs],
    )


def _metric_budget(bound: Bound | None, last: ValidateFacts, measured: _Measured) -> list[_Budget]:
    if last.metric is None:
        return []
    name = last.metric.name
    metrics = [facts.metric if facts else None for _, facts in measured]
    return [
        _Budget(
            label=name.replace("_", " "),
            limit=bound.text or f"{bound.kind.replace('_', ' ')} {bound.value:g}" if bound else "no limit",
            bounded=bound is not None,
            used=[budget.metric_used(bound, m) if bound and m else None for m in metrics],
            values=[numbers.metric_value(name, m.model) if m else "" for m in metrics],
        )
    ]


def _spent_table(measured: _Measured, budgets: list[_Budget], provider: str) -> Table:
    columns = [Column("Step")]
    for item in budgets:
        columns += [
            Column(item.label, "num"),
            Column(item.limit, "chart", "share of the limit used" if item.bounded else ""),
        ]
    rows = []
    before = [0.0] * len(budgets)
    ends = [waterfall.scale_end([u for u in item.used if u is not None]) for item in budgets]
    for i, (step, facts) in enumerate(measured):
        if facts is None and step.package is not None:
            continue  # packaging changes no number
        cells = [Cell(step.label, note=step.title)]
        for j, item in enumerate(budgets):
            cells += _spent_cells(item, i, before[j], ends[j], measured=facts is not None)
            before[j] = before[j] if item.used[i] is None else item.used[i] or 0.0
        rows.append(Row(tuple(cells)))
    source = [Cell("source", note="the reference")]
    metric = next((f.metric for _, f in measured if f and f.metric), None)
    for j in range(len(budgets)):
        value = numbers.metric_value(metric.name, metric.source) if metric and j == 0 else "exact"
        source += [Cell(value, tone="quiet"), Cell()]
    kept, shown = cap_rows([Row(tuple(source)), *rows])
    if not budgets:
        return Table("Tolerance spent", (), (), empty="No limit is set for these outputs, so nothing is spent of one.")
    caption = f"Tolerance spent, step by step, on {provider}"
    return Table(caption, tuple(columns), kept, shown, class_="waterfall-table", legend=_LEGEND)


def _spent_cells(item: _Budget, i: int, before: float, end: float, *, measured: bool) -> list[Cell]:
    share = item.used[i]
    if not measured:
        return [Cell("not measured", tone="quiet"), Cell()]
    if share is None:
        return [Cell(item.values[i]), Cell(numbers.NONE if item.bounded else "", tone="quiet")]
    said = budget.share_text(share)
    label = f"{item.label}: {said} of the limit used after this step, {numbers.percent(before)} before"
    chart = waterfall.row(before, share, end, label)
    return [Cell(item.values[i]), Cell(said, chart=chart, tone="bad" if share > 1 else "")]


def _value(measure: str, o: OutputMeasures) -> str:
    if o.max_abs is None:
        return f"{numbers.count(o.unequal)} differ"
    if measure == "argmax_agreement":
        return numbers.percent(o.argmax_agreement, 2)
    if measure == "sqnr_db":
        return f"{numbers.number(o.sqnr_db)} dB"
    value = o.max_abs if measure == "elementwise" else getattr(o, measure)
    return numbers.cosine(value) if measure == "cosine" else numbers.number(value)


def _measures_table(measured: _Measured) -> Table:
    columns = (
        Column("Step"),
        Column("Output"),
        Column("max |x−r|", "num"),
        Column("mean", "num"),
        Column("p99", "num"),
        Column("max rel.", "num"),
        Column("mean rel.", "num"),
        Column("p99 rel.", "num"),
        Column("Cosine", "num", "worst sample"),
        Column("SQNR", "num", "dB"),
        Column("Argmax agrees", "num"),
        Column("Differ", "num", "elements"),
        Column("Worst sample", "num"),
    )
    rows = [
        Row((Cell(step.label), *_measure_cells(o)))
        for step, facts in reversed(measured)
        if facts
        for o in facts.outputs
    ]
    kept, shown = cap_rows(rows)
    return Table("All measures against the source, the last step first", columns, kept, shown, class_="dense")


def _measure_cells(o: OutputMeasures) -> tuple[Cell, ...]:
    differ = f"{numbers.count(o.unequal)} of {numbers.count(o.elements)}"
    nan = f"{numbers.plural(o.nan_mismatches, 'NaN mismatch', 'NaN mismatches')}" if o.nan_mismatches else ""
    return (
        Cell(name=o.name, note=o.dtype),
        *(Cell(numbers.number(v)) for v in (o.max_abs, o.mean_abs, o.p99_abs, o.max_rel, o.mean_rel, o.p99_rel)),
        Cell(numbers.cosine(o.cosine)),
        Cell(numbers.number(o.sqnr_db)),
        Cell(numbers.percent(o.argmax_agreement, 2)),
        Cell(differ, note=nan),
        Cell(f"#{o.worst_sample}" if o.worst_sample is not None else numbers.NONE),
    )


def _histograms(measured: _Measured, names: list[str], tolerance: Tolerance) -> list[Histogram]:
    drawn = []
    for name in names[:MOST_OUTPUTS]:
        found = [(step, o) for step, facts in measured if facts and (o := _output(facts, name)) and sum(o.histogram)]
        found = [pair for i, pair in enumerate(found) if i == 0 or pair[1].histogram != found[i - 1][1].histogram]
        if not found:
            continue
        limits = tolerance.outputs.get(name, OutputTolerance())
        limit, strict = limits.atol or limits.max_abs, not limits.rtol and limits.share == 1
        bins = histogram.used_bins([o.histogram for _, o in found])
        rows = []
        for i, (step, o) in enumerate(found):
            zeros, total = o.histogram[0], sum(o.histogram)
            label = f"{name} after {step.label}: {total:,} elements, {zeros:,} exactly equal, "
            label += f"largest error {numbers.number(o.max_abs)}"
            axis = i == len(found) - 1
            rows.append((step.label, histogram.errors(o.histogram, bins, limit, label, strict=strict, axis=axis)))
        note = "|x − r| of every element; first column: exactly equal" + _limit_note(limit, strict)
        drawn.append(Histogram(name, note, tuple(rows)))
    return drawn


def _limit_note(limit: float | None, strict: bool) -> str:
    if limit is None:
        return ""
    return f"; dashed: the limit, {numbers.number(limit)}" + ("" if strict else ", to which rtol adds")


def _output(facts: ValidateFacts | None, name: str) -> OutputMeasures | None:
    return next((o for o in facts.outputs if o.name == name), None) if facts else None
