"""In what two model files differ, as a page: a sentence, tables, and the newer graph against the older one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from onnxbuild.ir.facts import ComparisonFacts, Field, NodeDifference, TensorDifference
from onnxbuild.report import numbers
from onnxbuild.report.charts.bars import diverging
from onnxbuild.report.pages.picture import Picture, picture_of_change
from onnxbuild.report.pages.table import Cell, Column, Row, Table, cap_rows


@dataclass(frozen=True)
class ComparisonPage:
    """Everything that the template of a comparison prints; a table is None where nothing of its kind differs."""

    old: str
    new: str
    lead: str
    version: str
    fields: Table | None
    nodes: Table | None
    tensors: Table | None
    operators: Table | None
    picture: Picture | None


def comparison_page(facts: ComparisonFacts, old: str, new: str, version: str) -> ComparisonPage:
    """Return the page on `old` and `new`, the files as they were named."""
    return ComparisonPage(
        old=old,
        new=new,
        lead=lead(facts),
        version=version,
        fields=_fields((*facts.interface, *facts.fields)),
        nodes=_nodes(facts),
        tensors=_tensors(facts),
        operators=_operators(facts),
        picture=picture_of_change(facts.picture),
    )


def lead(facts: ComparisonFacts) -> str:
    """Return in one sentence how much differs."""
    if facts.is_same:
        return "The models do not differ."
    said = []
    for what, counts in (("node", facts.node_counts), ("tensor", facts.tensor_counts)):
        if counts:
            total = numbers.plural(sum(counts.values()), f"{what} differs", f"{what}s differ")
            said.append(f"{total} ({', '.join(f'{number:,} {kind}' for kind, number in counts.items())})")
    if facts.interface:
        said.append(f"{numbers.plural(len(facts.interface), 'change')} of inputs and outputs")
    if facts.fields:
        said.append(f"{numbers.plural(len(facts.fields), 'change')} of the model around the graph")
    return "; ".join(said) + "."


def _fields(fields: Iterable[Field]) -> Table | None:
    rows = [
        Row((Cell(name=f.name), Cell(name=f.old or "absent", code=True), Cell(name=f.new or "absent", code=True)))
        for f in fields
    ]
    kept, shown = cap_rows(rows)
    columns = (Column("What"), Column("Old", "code"), Column("New", "code"))
    return Table("Inputs, outputs and the model itself", columns, kept, shown, hide_caption=True) if rows else None


def _nodes(facts: ComparisonFacts) -> Table | None:
    total = sum(facts.node_counts.values())
    kept, shown = cap_rows((_node(node) for node in facts.nodes), total)
    columns = (Column("Node"), Column("How"), Column("Operator"), Column("What differs", "remark"))
    return Table("Nodes that differ", columns, kept, shown, hide_caption=True) if total else None


def _node(node: NodeDifference) -> Row:
    operator = f"{node.old_op} → {node.op}" if node.old_op is not None else node.op
    details = "; ".join(node.details)
    return Row((Cell(name=node.name), Cell(node.kind), Cell(name=operator), Cell(name=details, fold=400)))


def _tensors(facts: ComparisonFacts) -> Table | None:
    total = sum(facts.tensor_counts.values())
    kept, shown = cap_rows((_tensor(tensor) for tensor in facts.tensors), total)
    columns = (
        Column("Tensor"),
        Column("Old", "code"),
        Column("New", "code"),
        Column("Elements that differ", "num"),
        Column("Largest difference", "num"),
        Column("Norm of the change", "num", "over the old tensor's"),
        Column("Size", "num"),
    )
    return Table("Tensors that differ", columns, kept, shown, hide_caption=True) if total else None


def _tensor(tensor: TensorDifference) -> Row:
    size = numbers.size(tensor.new_bytes)
    if tensor.old_bytes != tensor.new_bytes:
        size = f"{numbers.size(tensor.old_bytes)} → {numbers.size(tensor.new_bytes)}"
    relative = numbers.NONE if tensor.relative is None else numbers.number(tensor.relative)
    return Row((
        Cell(name=tensor.name),
        Cell(name=tensor.old or "absent", code=True),
        Cell(name=tensor.new or "absent", code=True),
        Cell(numbers.count(tensor.elements)),
        Cell(numbers.number(tensor.largest), sort=str(tensor.largest or 0)),
        Cell(relative, sort=str(tensor.relative or 0)),
        Cell(size, sort=str(tensor.new_bytes)),
    ))  # fmt: skip


def _operators(facts: ComparisonFacts) -> Table | None:
    largest = max((abs(new - old) for old, new in facts.operators.values()), default=0)
    rows = []
    for name, (old, new) in sorted(facts.operators.items(), key=lambda item: -abs(item[1][1] - item[1][0])):
        change = numbers.signed(str(abs(new - old)), new - old)
        rows.append(
            Row((
                Cell(name=name),
                Cell(numbers.count(old)),
                Cell(numbers.count(new)),
                Cell(change, sort=str(new - old)),
                Cell(chart=diverging(new - old, largest, f"{name}: {change}")),
            ))
        )  # fmt: skip
    counts = (Column("Old", "num"), Column("New", "num"), Column("Change", "num"))
    columns = (Column("Operator"), *counts, Column("", "chart"))
    kept, shown = cap_rows(rows)
    return Table("Operators whose number differs", columns, kept, shown, hide_caption=True) if rows else None
