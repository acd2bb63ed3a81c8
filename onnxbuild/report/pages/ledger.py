"""The ledger of errors: what each step used of every limit, the metric with its intervals, and a row a tested size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxbuild.data.edge import Edge
from onnxbuild.proof.size_gates import NEAR, elementwise
from onnxbuild.proof.sizes import SizedOutput
from onnxbuild.recipe.types import Bound, OutputTolerance, Tolerance
from onnxbuild.report import budget, numbers
from onnxbuild.report.facts import StepFacts, TargetFacts
from onnxbuild.report.pages.table import Cell, Column, Row, Table, cap_rows
from onnxbuild.stages.validate import MetricMeasure, ValidateFacts

Measured = Sequence[tuple[StepFacts, ValidateFacts | None]]


@dataclass(frozen=True)
class _Limit:
    output: str
    text: str
    used: list[float | None]


def limits_table(measured: Measured, tolerance: Tolerance) -> Table:
    """Return every limit with what was used of it after each step, and how much of that the step itself used."""
    steps = [(step, facts) for step, facts in measured if facts is not None]
    limits = [
        _Limit(name, budget.limit_text(limit, measure), [_used(limit, measure, name, facts) for _, facts in steps])
        for name, limit in tolerance.outputs.items()
        for measure in budget.limited(limit)
    ]
    metric = steps[-1][1].metric if steps else None
    if tolerance.metric is not None and metric is not None:
        used = [budget.metric_used(tolerance.metric, f.metric) if f.metric else None for _, f in steps]
        limits.append(_Limit(metric.name.replace("_", " "), tolerance.metric.text or "its limit", used))
    rows = [Row((Cell(name=limit.output), Cell(limit.text), *_used_cells(limit.used))) for limit in limits]
    kept, shown = cap_rows(rows)
    columns = (Column("Output"), Column("Limit", "limit"), *(Column(step.label, "num") for step, _ in steps))
    caption = "Share of every limit used after each step, and by the step itself"
    return Table(caption, columns, kept, shown, empty="No limit is set for these outputs.")


def _used(limit: OutputTolerance, measure: str, name: str, facts: ValidateFacts) -> float | None:
    output = next((o for o in facts.outputs if o.name == name), None)
    return None if output is None else budget.used(limit, measure, output)


def _used_cells(used: Sequence[float | None]) -> list[Cell]:
    cells, before, beyond = [], 0.0, False
    for share in used:
        if share is None:
            cells.append(Cell(numbers.NONE))
            continue
        own = budget.own_share(before, share)
        change = budget.share_text(abs(own))
        change = change if change.startswith("<") else numbers.signed(change, own)
        note = "no change" if own == 0 else f"{change} by this step"
        first = share > 1 and not beyond
        cells.append(
            Cell(
                budget.share_text(share),
                note=note + (", the first beyond" if first else ""),
                tone="bad" if share > 1 else "",
            )
        )
        before, beyond = share, beyond or share > 1
    return cells


def metric_table(measured: Measured, bound: Bound | None) -> Table | None:
    """Return the metric after each step with its 95 % intervals; None where there is no metric."""
    steps = [(step, facts.metric) for step, facts in measured if facts is not None and facts.metric is not None]
    if not steps:
        return None
    name = steps[-1][1].name
    columns = (
        Column("Step"),
        Column(name.replace("_", " ").capitalize(), "num", "95% interval"),
        Column("Worse than the source by", "num", "95% interval"),
        Column("Share of the source’s", "num", "95% interval"),
    )
    rows = [Row((Cell(step.label, note=step.title), *_metric_cells(metric))) for step, metric in reversed(steps)]
    kept, shown = cap_rows(rows)
    limit = f", limit {bound.text}" if bound is not None and bound.text else ""
    how = " No interval is known for this metric." if steps[-1][1].intervals is None else ""
    caption = f"{name.replace('_', ' ').capitalize()}, source {numbers.metric_value(name, steps[-1][1].source)}{limit}"
    return Table(caption + "." + how if how else caption, columns, kept, shown, class_="dense")


def _metric_cells(metric: MetricMeasure) -> list[Cell]:
    model, source, found = metric.model, metric.source, metric.intervals
    drop = ratio = None
    if model is not None and source is not None:
        drop = source - model if metric.higher_is_better else model - source
        ratio = model / source if source > 0 else None
    unit = numbers.metric_unit(metric.name)
    return [
        Cell(
            numbers.metric_value(metric.name, model),
            note=_span(found.value if found is not None else None, metric.name),
        ),
        Cell(
            numbers.NONE if drop is None else numbers.metric_change(metric.name, drop) + unit,
            note="" if found is None else " to ".join(numbers.metric_change(metric.name, end) for end in found.drop),
        ),
        Cell(
            numbers.percent(ratio, 2),
            note="" if found is None or found.ratio is None else _percents(found.ratio),
        ),
    ]


def _span(interval: tuple[float, float] | None, metric: str) -> str:
    return "" if interval is None else " to ".join(numbers.metric_value(metric, end) for end in interval)


def _percents(interval: tuple[float, float]) -> str:
    return " to ".join(numbers.percent(end, 2) for end in interval)


def sizes_table(target: TargetFacts, measured: Measured, tolerance: Tolerance) -> Table | None:
    """Return a row for each output at each tried size of the dynamic axes, and one for each size that was not tried."""
    tried = [(step, facts) for step, facts in reversed(measured) if facts is not None and facts.sizes is not None]
    if not tried:
        return None
    rows: list[Row] = []
    last = next(step for step, facts in reversed(measured) if facts is not None)
    for step, facts in tried:
        if len(tried) > 1:
            what = "the delivered model" if step is last else "before steps that change numbers by design"
            rows.append(Row((Cell(f"after {step.label}, {what}"),), group=True))
        for size in facts.sizes or ():
            if size.failure is not None or size.untried is not None:
                said = f"does not run: {size.failure}" if size.failure is not None else f"not tried: {size.untried}"
                rows.append(_untold(size.edge, said, bad=size.failure is not None))
            rows += [_size_row(size.edge, o, tolerance, delivered=step is last) for o in size.outputs]
    refused = target.reference.untried if target.reference is not None else ()
    skipped = target.data.skipped if target.data is not None else ()
    untold = [_untold(edge.edge, edge.reason) for edge in refused]
    untold += [_untold(s.edge, f"{numbers.size(s.bytes)} of inputs are beyond the budget") for s in skipped]
    if untold:
        rows += [Row((Cell("not tried, so unverified"),), group=True), *untold]
    columns = (
        Column("Size"),
        Column("Output"),
        Column("Shape"),
        Column("max |x−r|", "num"),
        Column("mean", "num"),
        Column("Differ", "num", "elements"),
        Column("Of the limit", "num", "elementwise"),
    )
    kept, shown = cap_rows(rows)
    return Table("Sizes of the dynamic axes, each against the source at that size", columns, kept, shown)


def _untold(edge: Edge, said: str, *, bad: bool = False) -> Row:
    cells = [Cell(_sizes(edge)), Cell(name=said, tone="bad" if bad else "quiet", fold=160)]
    return Row((*cells, *(Cell(numbers.NONE) for _ in range(5))))


def _size_row(edge: Edge, output: SizedOutput, tolerance: Tolerance, *, delivered: bool) -> Row:
    head = (Cell(_sizes(edge)), Cell(name=output.name))
    if output.measures is None:
        shape = f"{_shape(output.shape)}, not {_shape(output.expected)}"
        return Row((*head, Cell(shape, tone="bad"), *(Cell(numbers.NONE) for _ in range(4))))
    found = output.measures
    own = elementwise(tolerance.outputs.get(output.name, OutputTolerance()))
    limit = NEAR if own == OutputTolerance() and not delivered else own
    shares = [budget.used(limit, measure, found) for measure in budget.limited(limit)]
    share = max((s for s in shares if s is not None), default=None)
    lost = numbers.plural(output.nonfinite, "NaN or ∞ of its own", "NaN or ∞ of its own") if output.nonfinite else ""
    return Row(
        (
            *head,
            Cell(_shape(output.shape), note=output.misdeclared or "", tone="bad" if output.misdeclared else ""),
            Cell(numbers.number(found.max_abs), note=lost, tone="bad" if lost else ""),
            Cell(numbers.number(found.mean_abs)),
            Cell(f"{numbers.count(found.unequal)} of {numbers.count(found.elements)}"),
            Cell(
                numbers.NONE if share is None else budget.share_text(share),
                tone="bad" if share is not None and not share <= 1 else "",
            ),
        )
    )


def _sizes(edge: Edge) -> str:
    return edge.name + (" (all at their largest)" if edge.corner else "")


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "a scalar"
