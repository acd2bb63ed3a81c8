"""One model file as a page: what it takes and gives, what it is made of, where its bytes are."""

from __future__ import annotations

from dataclasses import dataclass

from onnxbuild.ir.facts import ModelFacts, ValueFacts
from onnxbuild.ir.inspect import most_common
from onnxbuild.report import numbers
from onnxbuild.report.charts.bars import bar
from onnxbuild.report.pages.graph import dims
from onnxbuild.report.pages.picture import Picture, picture_of
from onnxbuild.report.pages.size import list_table, type_tones, weight_table
from onnxbuild.report.pages.table import Cell, Column, Row, Table, cap_rows


@dataclass(frozen=True)
class ModelPage:
    """Everything that the template of a model prints; `facts` are label and value pairs."""

    name: str
    version: str
    facts: tuple[tuple[str, str], ...]
    interface: Table
    picture: Picture | None
    operators: Table
    weights: Table
    lists: Table | None
    metadata: Table | None


def model_page(facts: ModelFacts, name: str, version: str) -> ModelPage:
    """Return the page on a model, the file as it was named."""
    tones = type_tones([facts])
    return ModelPage(
        name=name,
        version=version,
        facts=_facts(facts),
        interface=_interface(facts),
        picture=picture_of(facts, tones),
        operators=_operators(facts),
        weights=weight_table(facts, tones),
        lists=list_table(facts),
        metadata=_metadata(facts),
    )


def _facts(facts: ModelFacts) -> tuple[tuple[str, str], ...]:
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in facts.opsets.items())
    weights = f"{numbers.size(facts.weight_bytes)} in {numbers.plural(facts.weight_tensors, 'tensor')}"
    return (
        ("Size", numbers.size(facts.bytes)),
        ("Weights", weights),
        *((("Lists in attributes", numbers.size(facts.list_bytes)),) if facts.lists else ()),
        ("Nodes", numbers.count(facts.nodes)),
        ("Opset", opsets or "none"),
        ("IR version", str(facts.ir_version)),
    )


def _interface(facts: ModelFacts) -> Table:
    rows = [_value("input", value) for value in facts.inputs] + [_value("output", value) for value in facts.outputs]
    kept, shown = cap_rows(rows)
    columns = (Column("Name"), Column("Kind"), Column("Dtype"), Column("Shape", "code"))
    return Table("Inputs and outputs", columns, kept, shown, hide_caption=True)


def _value(kind: str, value: ValueFacts) -> Row:
    return Row((Cell(name=value.name), Cell(kind), Cell(value.dtype), Cell(name=dims(value.shape), code=True)))


def _operators(facts: ModelFacts) -> Table:
    largest = max(facts.operators.values(), default=0)
    rows = [
        Row((Cell(name=name), Cell(numbers.count(n)), Cell(chart=bar(n, largest, f"{name}: {n:,}"))))
        for name, n in most_common(facts.operators)
    ]
    kept, shown = cap_rows(rows)
    columns = (Column("Operator"), Column("Nodes", "num"), Column("", "chart"))
    return Table("Operators", columns, kept, shown, empty="The graph has no nodes.", hide_caption=True)


def _metadata(facts: ModelFacts) -> Table | None:
    rows = [Row((Cell(name=key), Cell(name=value, fold=240))) for key, value in facts.metadata.items()]
    kept, shown = cap_rows(rows)
    return Table("Metadata", (Column("Key"), Column("Value")), kept, shown, hide_caption=True) if rows else None
