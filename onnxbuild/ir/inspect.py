"""A model's facts as plain text for people; knows no terminal."""

from __future__ import annotations

from collections.abc import Mapping

from onnxbuild.base.units import format_size
from onnxbuild.ir.facts import InitializerFacts, ListFacts, ModelFacts, ValueFacts


def describe_text(facts: ModelFacts) -> str:
    """Return a model's facts as aligned lines of text, without a final newline."""
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in facts.opsets.items())
    lines = [
        *_table("inputs", [_value_row(value) for value in facts.inputs]),
        *_table("outputs", [_value_row(value) for value in facts.outputs]),
        f"opset      {opsets or 'none'}",
        f"IR         {facts.ir_version}",
        f"size       {format_size(facts.bytes)}",
        f"weights    {facts.weight_tensors:,} tensors, {format_size(facts.weight_bytes)}{_by_dtype(facts)}",
        *([f"in lists   {format_size(facts.list_bytes)} of attributes"] if facts.lists else []),
        f"nodes      {facts.nodes}",
        *_table("operators", [[operator, f"{count:,}"] for operator, count in most_common(facts.operators)]),
        *_table("largest", [_weight_row(weight) for weight in facts.weights]),
    ]
    left = facts.weight_tensors - len(facts.weights)
    if left > 0:
        lines.append(f"           and {left} smaller ones")
    lines += _table("lists", [_list_row(one) for one in facts.lists])
    left = facts.list_count - len(facts.lists)
    if left > 0:
        lines.append(f"           and {left} smaller ones")
    lines += _table("metadata", [[key, value.split("\n", 1)[0]] for key, value in facts.metadata.items()])
    return "\n".join(line.rstrip() for line in lines)


def most_common(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return names with their counts, the highest first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _list_row(one: ListFacts) -> list[str]:
    return [f"{one.node} {one.attribute}", one.dtype, f"{one.length:,} values", format_size(one.bytes)]


def _by_dtype(facts: ModelFacts) -> str:
    if not facts.weight_bytes_by_dtype:
        return ""
    return " (" + ", ".join(f"{dtype} {format_size(n)}" for dtype, n in facts.weight_bytes_by_dtype.items()) + ")"


def _value_row(value: ValueFacts) -> list[str]:
    if value.shape is None:
        return [value.name, value.dtype, "unknown rank"]
    return [value.name, value.dtype, "[" + ", ".join("?" if dim is None else str(dim) for dim in value.shape) + "]"]


def _weight_row(weight: InitializerFacts) -> list[str]:
    shape = "[" + ", ".join(map(str, weight.shape)) + "]"
    elements = 1
    for dim in weight.shape:
        elements *= dim
    zeros = f"{weight.zeros / elements:.1%} zeros" if weight.zeros and elements else ""
    return [weight.name, weight.dtype, shape, format_size(weight.bytes), zeros]


def _table(title: str, rows: list[list[str]]) -> list[str]:
    """Return rows as lines with aligned columns, the title before the first."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [f"{title if number == 0 else '':<11}{text}" for number, text in enumerate(texts)]
