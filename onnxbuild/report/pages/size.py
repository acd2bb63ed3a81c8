"""Where the bytes are: by step and dtype, and by tensor with its zeros."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from onnxbuild.ir.facts import InitializerFacts, ListFacts, ModelFacts
from onnxbuild.report import numbers
from onnxbuild.report.charts.bars import bar, stacked
from onnxbuild.report.facts import StepFacts, TargetFacts
from onnxbuild.report.pages.table import Cell, Column, Row, Table, cap_rows

_TONES = ("a", "b", "c", "d", "e")
_GRAPH = "graph"
_LISTS = "plain"
"""The tone of long lists in attributes, which are no tensors."""


@dataclass(frozen=True)
class Size:
    """Sizes of one target; `sentence` answers before the tables do."""

    sentence: str
    steps: Table
    weights: Table
    lists: Table | None


def size(target: TargetFacts, tones: dict[str, str], largest: int) -> Size | None:
    """Return the sizes, in the recipe's colours, on a scale that ends at `largest` bytes; None without a model."""
    models = [(step, step.model) for step in target.steps if step.model is not None]
    if not models:
        return None
    last = models[-1][1]
    sentence = _sentence(last, compressed(target))
    return Size(sentence, _steps(models, tones, largest), weight_table(last, tones), list_table(last))


def dtype_tones(targets: Sequence[TargetFacts]) -> dict[str, str]:
    """Return a tone for each dtype of a recipe, the one with most bytes first; the sixth and later share the last."""
    return type_tones(step.model for target in targets for step in target.steps if step.model is not None)


def type_tones(models: Iterable[ModelFacts]) -> dict[str, str]:
    """Return a tone for each dtype of some models, most bytes first; the sixth and later share the last."""
    totals: dict[str, int] = {}
    for model in models:
        for dtype, count in model.weight_bytes_by_dtype.items():
            totals[dtype] = max(totals.get(dtype, 0), count)
    ordered = sorted(totals, key=lambda dtype: (-totals[dtype], dtype))
    return {dtype: _TONES[min(i, len(_TONES) - 1)] for i, dtype in enumerate(ordered)}


def dtype_legend(tones: dict[str, str], models: Sequence[ModelFacts]) -> tuple[tuple[str, str], ...]:
    """Return the key to the colours of `model_bar`, of the dtypes that `models` have."""
    there = {dtype for model in models for dtype, n in model.weight_bytes_by_dtype.items() if n}
    lists = [(_LISTS, "lists in attributes")] if any(model.list_bytes for model in models) else []
    return (*((tones[dtype], dtype) for dtype in tones if dtype in there), *lists, (_GRAPH, "graph and metadata"))


def model_bar(model: ModelFacts, tones: dict[str, str], largest: int, name: str) -> Markup:
    """Return a model's bytes by dtype as one bar on a scale that ends at `largest`."""
    parts = sorted(model.weight_bytes_by_dtype.items(), key=lambda pair: (-pair[1], pair[0]))
    rest = max(0, model.bytes - sum(n for _, n in parts) - model.list_bytes)
    others = [("lists in attributes", model.list_bytes), (_GRAPH, rest)]
    said = ", ".join(f"{numbers.size(n)} {dtype}" for dtype, n in [*parts, *others] if n)
    drawn = [(tones[dtype], float(n)) for dtype, n in parts]
    drawn += [(_LISTS, float(model.list_bytes)), (_GRAPH, float(rest))]
    return stacked(drawn, largest, f"{name}: {said}")


def sparsity(model: ModelFacts) -> float | None:
    """Return the share of exact zeros among the elements whose zeros were counted."""
    counted = [(w.zeros, math.prod(w.shape)) for w in model.weights if w.zeros is not None]
    elements = sum(n for _, n in counted)
    return sum(zeros for zeros, _ in counted) / elements if elements else None


def compressed(target: TargetFacts) -> int | None:
    """Return about how many bytes the delivered model has compressed; None where that was not tried."""
    return next((step.package.compressed for step in target.steps if step.package is not None), None)


def _sentence(model: ModelFacts, small: int | None) -> str:
    zeros = sparsity(model)
    weights = f"{numbers.size(model.weight_bytes)} of it weights in {numbers.plural(model.weight_tensors, 'tensor')}"
    lists = f"{numbers.size(model.list_bytes)} of it in {numbers.plural(model.list_count, 'long list')} of attributes"
    held = ([weights] if model.weight_tensors or not model.lists else []) + ([lists] if model.lists else [])
    parts = [f"{numbers.size(model.bytes)} in all, {', '.join(held)}"]
    parts += [f"{numbers.percent(zeros)} of their elements are zero"] if zeros is not None else []
    parts += [f"about {numbers.size(small)} compressed with deflate"] if small is not None else []
    if model.weights and model.weight_bytes:
        first = model.weights[0]
        parts.append(f"the largest tensor holds {numbers.percent(first.bytes / model.weight_bytes, 0)} of the weights")
    return "; ".join(parts) + "."


def _steps(models: list[tuple[StepFacts, ModelFacts]], tones: dict[str, str], largest: int) -> Table:
    rows: list[Row] = []
    before = None
    for step, model in models:
        cells = (
            Cell(step.label, note=step.title),
            Cell(numbers.size(model.bytes), title=numbers.exact_size(model.bytes) or "", sort=str(model.bytes)),
            Cell(numbers.size_change(before, model.bytes) or numbers.NONE),
            Cell(chart=model_bar(model, tones, largest, step.label)),
            Cell(numbers.percent(sparsity(model))),
        )
        rows.append(Row(cells))
        before = model.bytes
    columns = (
        Column("Step"),
        Column("Size", "num"),
        Column("Change", "num"),
        Column("By dtype", "chart"),
        Column("Zeros", "num"),
    )
    kept, shown = cap_rows(rows)
    return Table("Size by step", columns, kept, shown, legend=dtype_legend(tones, [model for _, model in models]))


def weight_table(model: ModelFacts, tones: dict[str, str]) -> Table:
    """Return a model's largest tensors."""
    columns = (
        Column("Tensor"),
        Column("Dtype"),
        Column("Shape", "code"),
        Column("Size", "num"),
        Column("Of the weights", "num"),
        Column("", "chart"),
        Column("Zeros", "num"),
    )
    largest = max((w.bytes for w in model.weights), default=0)
    rows, shown = cap_rows([Row(_weight_cells(w, model, tones, largest)) for w in model.weights], model.weight_tensors)
    return Table("Largest tensors", columns, rows, shown, empty="The model has no weight tensors.",
                 hide_caption=True)  # fmt: skip


def list_table(model: ModelFacts) -> Table | None:
    """Return a model's largest lists in attributes; None where it has no long ones."""
    if not model.lists:
        return None
    largest = model.lists[0].bytes
    rows, shown = cap_rows([Row(_list_cells(one, model, largest)) for one in model.lists], model.list_count)
    columns = (
        Column("Node"), Column("Attribute"), Column("Dtype"), Column("Values", "num"), Column("Size", "num"),
        Column("Of the file", "num"), Column("", "chart"),
    )  # fmt: skip
    return Table("Long lists in attributes", columns, rows, shown)


def _list_cells(one: ListFacts, model: ModelFacts, largest: int) -> tuple[Cell, ...]:
    share = numbers.percent(one.bytes / model.bytes if model.bytes else 0.0)
    return (
        Cell(name=one.node),
        Cell(name=one.attribute),
        Cell(one.dtype),
        Cell(numbers.count(one.length)),
        Cell(numbers.size(one.bytes), title=numbers.exact_size(one.bytes) or "", sort=str(one.bytes)),
        Cell(share),
        Cell(chart=bar(one.bytes, largest, f"{share} of the file", tone=_LISTS)),
    )


def _weight_cells(w: InitializerFacts, model: ModelFacts, tones: dict[str, str], largest: int) -> tuple[Cell, ...]:
    share = w.bytes / model.weight_bytes if model.weight_bytes else 0.0
    elements = math.prod(w.shape)
    return (
        Cell(name=w.name),
        Cell(w.dtype),
        Cell("×".join(str(n) for n in w.shape) or "scalar", code=True),
        Cell(numbers.size(w.bytes), title=numbers.exact_size(w.bytes) or "", sort=str(w.bytes)),
        Cell(numbers.percent(share)),
        Cell(chart=bar(w.bytes, largest, f"{numbers.percent(share)} of the weights", tone=tones.get(w.dtype, "plain"))),
        Cell(numbers.percent(w.zeros / elements) if w.zeros is not None and elements else numbers.NONE),
    )
