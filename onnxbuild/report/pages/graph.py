"""What is in the file: interface and axes against what was declared, opset, IR, operators before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxbuild.ir.facts import ModelFacts, ValueFacts
from onnxbuild.recipe.types import Axis
from onnxbuild.report import numbers
from onnxbuild.report.charts.bars import diverging
from onnxbuild.report.facts import TargetFacts
from onnxbuild.report.pages.picture import Elsewhere, Picture, pictures
from onnxbuild.report.pages.table import CAP, Cell, Column, Row, Table, cap_rows

STANDARD = ("", "ai.onnx", "ai.onnx.ml")


@dataclass(frozen=True)
class Graph:
    """The graph of one target; `facts` are label and value pairs."""

    facts: tuple[tuple[str, str], ...]
    pictures: tuple[Picture, ...]
    elsewhere: tuple[Elsewhere, ...]
    interface: Table
    axes: Table | None
    operators: Table


def graph(
    target: TargetFacts, tones: Mapping[str, str], shown: Mapping[str, tuple[str, str]] | None = None
) -> Graph | None:
    """Return the graph as exported and as delivered, in the recipe's colours; None where no model was made.

    `shown` are the actions whose pictures another variant shows, with its name and link.
    """
    models = [step.model for step in target.steps if step.model is not None]
    if not models:
        return None
    first, last = models[0], models[-1]
    facts = _facts(target, first, last)
    drawn, elsewhere = pictures(target.steps, tones, shown or {})
    return Graph(facts, drawn, elsewhere, _interface(target, last), _axes(target), _operators(first, last))


def dims(shape: tuple[int | str | None, ...] | None) -> str:
    """Return a shape such as "batch × 1 × 8 × 8"; an unknown dim is "?", an unknown rank says so."""
    if shape is None:
        return "rank not known"
    return " × ".join("?" if dim is None else str(dim) for dim in shape) or "scalar"


def _facts(target: TargetFacts, first: ModelFacts, last: ModelFacts) -> tuple[tuple[str, str], ...]:
    nodes = numbers.count(last.nodes)
    if first.nodes != last.nodes:
        nodes += f", exported with {numbers.count(first.nodes)}"
    others = [f"{domain} {version}" for domain, version in sorted(last.opsets.items()) if domain not in STANDARD]
    return (
        ("Nodes", nodes),
        ("Opset", _against(last.opsets.get(""), target.declared.opset)),
        ("IR version", _against(last.ir_version, target.declared.ir_version)),
        ("Custom domains", ", ".join(others) or "none"),
        ("Operator kinds", numbers.count(len(last.operators))),
    )


def _against(delivered: int | None, declared: int | None) -> str:
    if declared is None or declared == delivered:
        return str(delivered) if delivered is not None else numbers.NONE
    return f"{delivered}, declared {declared}"


def _interface(target: TargetFacts, model: ModelFacts) -> Table:
    declared = {i.name: (i.dtype, dims(i.shape)) for i in target.declared.inputs}
    outputs = {o.name for o in target.declared.outputs}
    rows = [_value_row("input", v, *declared.get(v.name, ("", "not declared"))) for v in model.inputs]
    rows += [_value_row("output", v, "", "named" if v.name in outputs else "not declared") for v in model.outputs]
    columns = (
        Column("Name"),
        Column("Kind"),
        Column("Declared", "code"),
        Column("In the file", "code"),
        Column("Dtype"),
    )
    kept, shown = cap_rows(rows)
    return Table("Inputs and outputs", columns, kept, shown, empty="The model has no inputs or outputs.")


def _value_row(kind: str, value: ValueFacts, dtype: str, declared: str) -> Row:
    other = bool(dtype) and dtype != value.dtype
    return Row((
        Cell(name=value.name),
        Cell(kind),
        Cell(name=declared, code=True),
        Cell(name=dims(value.shape), code=True),
        Cell(f"{value.dtype}, declared {dtype}" if other else value.dtype, tone="bad" if other else ""),
    ))  # fmt: skip


def _axes(target: TargetFacts) -> Table | None:
    if not target.declared.axes:
        return None
    rows = [Row((Cell(name=name), Cell(_range(axis)))) for name, axis in target.declared.axes.items()]
    kept, shown = cap_rows(rows)
    return Table("Dynamic axes", (Column("Axis"), Column("Declared sizes")), kept, shown)


def _range(axis: Axis) -> str:
    step = f", multiples of {axis.multiple_of}" if axis.multiple_of != 1 else ""
    return f"{numbers.count(axis.min)} to {numbers.count(axis.max)}{step}"


def _operators(first: ModelFacts, last: ModelFacts) -> Table:
    names = sorted(set(first.operators) | set(last.operators))
    changes = {name: last.operators.get(name, 0) - first.operators.get(name, 0) for name in names}
    names.sort(key=lambda name: (-abs(changes[name]), -last.operators.get(name, 0), name))
    largest = max((abs(change) for change in changes.values()), default=0)
    rows = []
    for name in names[:CAP]:
        change = changes[name]
        label = f"{name}: {numbers.signed(str(abs(change)), change)}" if change else f"{name}: as before"
        rows.append(
            Row((
                Cell(name=name),
                Cell(numbers.count(first.operators.get(name, 0))),
                Cell(numbers.count(last.operators.get(name, 0))),
                Cell(numbers.signed(str(abs(change)), change) if change else "", sort=str(change)),
                Cell(chart=diverging(change, largest, label)),
            ))
        )  # fmt: skip
    if not largest:
        rows = [Row(row.cells[:3]) for row in rows]
    kept, shown = cap_rows(rows, len(names))
    columns = (
        Column("Operator"),
        Column("Exported", "num"),
        Column("Final", "num"),
        *((Column("Change", "num"), Column("", "chart")) if largest else ()),
    )
    return Table("Operators, as exported and in the end", columns, kept, shown, empty="The graph has no nodes.")
