"""In what two models differ: header, interface, nodes by name, tensors by name with the size of their change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxbuild.ir.describe import describe_model
from onnxbuild.ir.dtypes import dtype_name
from onnxbuild.ir.facts import ComparisonFacts, Field, ModelFacts, NodeDifference, TensorDifference, ValueFacts
from onnxbuild.ir.lists import LONG
from onnxbuild.ir.model import read_model_file, tensor_blocks, weight_file_bytes
from onnxbuild.ir.picture import picture
from onnxbuild.ir.walk import Tensor, subgraphs, tensor_slots

LISTED = 500
"""Nodes, and tensors, that are listed; all are counted."""
_ELEMENTS = 1 << 20
"""Elements that are compared at a time."""
_TEXT = 200
_ORDER = ("added", "removed", "retyped", "changed", "moved")


def compare(old: Path, new: Path) -> ComparisonFacts:
    """Compare two ONNX files; raises StageFailure (`bad-onnx-file`)."""
    models = [read_model_file(file) for file in (old, new)]
    files = zip((old, new), models, strict=True)
    facts = [describe_model(model, file.stat().st_size + weight_file_bytes(model)) for file, model in files]
    before, after = models
    nodes = sorted(_nodes(before, after), key=lambda node: _ORDER.index(node.kind))
    tensors = list(_tensors(before, after))
    operators = {
        name: (facts[0].operators.get(name, 0), facts[1].operators.get(name, 0))
        for name in dict.fromkeys((*facts[1].operators, *facts[0].operators))
    }
    return ComparisonFacts(
        fields=tuple(_fields(before, after, *facts)),
        interface=tuple(_interface(*facts)),
        nodes=tuple(nodes[:LISTED]),
        node_counts={kind: count for kind in _ORDER if (count := sum(node.kind == kind for node in nodes))},
        nodes_before=facts[0].nodes,
        nodes_after=facts[1].nodes,
        tensors=tuple(sorted(tensors, key=_weight)[:LISTED]),
        tensor_counts=dict(sorted(Counter(_kind(tensor) for tensor in tensors).items())),
        tensors_before=facts[0].weight_tensors,
        tensors_after=facts[1].weight_tensors,
        operators={name: counts for name, counts in operators.items() if counts[0] != counts[1]},
        picture=picture(after, before),
    )


# The model as a whole


def _fields(before: ir.Model, after: ir.Model, old: ModelFacts, new: ModelFacts) -> Iterator[Field]:
    yield from _differing("IR version", {"": str(old.ir_version)}, {"": str(new.ir_version)})
    opsets = [{domain or "ai.onnx": str(version) for domain, version in facts.opsets.items()} for facts in (old, new)]
    yield from _differing("opset", *opsets)
    for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        texts = [_cut(str(getattr(model, name) or "")) for model in (before, after)]
        yield from _differing(name.replace("_", " "), *({"": text} if text else {} for text in texts))
    yield from _differing("metadata", *({k: _cut(v) for k, v in facts.metadata.items()} for facts in (old, new)))
    functions = [{f"{f.domain}.{f.name}": f"{len(f)} nodes" for f in m.functions.values()} for m in (before, after)]
    yield from _differing("function", *functions)
    yield from _differing("size", {"": f"{old.bytes:,} bytes"}, {"": f"{new.bytes:,} bytes"})


def _interface(old: ModelFacts, new: ModelFacts) -> Iterator[Field]:
    for kind, before, after in (("input", old.inputs, new.inputs), ("output", old.outputs, new.outputs)):
        yield from _differing(kind, *({value.name: _value(value) for value in values} for values in (before, after)))
        names = [[value.name for value in values] for values in (before, after)]
        if names[0] != names[1] and sorted(names[0]) == sorted(names[1]):
            yield Field(f"order of {kind}s", _cut(", ".join(names[0])), _cut(", ".join(names[1])))


def _differing(what: str, old: dict[str, str], new: dict[str, str]) -> Iterator[Field]:
    for key in dict.fromkeys((*old, *new)):
        if old.get(key) != new.get(key):
            yield Field(f"{what} {_cut(key)}".strip(), old.get(key), new.get(key))


def _value(value: ValueFacts) -> str:
    if value.shape is None:
        return f"{value.dtype}, rank not known"
    return f"{value.dtype} [{', '.join('?' if dim is None else str(dim) for dim in value.shape)}]"


# Nodes


def _nodes(before: ir.Model, after: ir.Model) -> Iterator[NodeDifference]:
    old, new = dict(_named_nodes(before)), dict(_named_nodes(after))
    for name, node in new.items():
        if name not in old:
            yield NodeDifference(kind="added", name=_cut(name), op=_operator(node))
        elif (found := _compare_nodes(name, old[name], node)) is not None:
            yield found
    for name, node in old.items():
        if name not in new:
            yield NodeDifference(kind="removed", name=_cut(name), op=_operator(node))


def _named_nodes(model: ir.Model) -> Iterator[tuple[str, ir.Node]]:
    """Yield every node under a name that no other has: its own, after those of the nodes and attributes around it."""
    used: Counter[str] = Counter()
    waiting: list[tuple[str, ir.Graph | ir.Function]] = [("", model.graph)]
    waiting += [(f"{function.domain}.{function.name}/", function) for function in model.functions.values()]
    while waiting:
        prefix, body = waiting.pop()
        for node in body:
            own = node.name or next((output.name for output in node.outputs if output.name), None) or node.op_type
            name = prefix + own
            used[name] += 1
            name = name if used[name] == 1 else f"{name} ({used[name]})"
            yield name, node
            waiting += [(f"{name}/{attribute}/", graph) for attribute, graph in subgraphs(node)]


def _compare_nodes(name: str, old: ir.Node, new: ir.Node) -> NodeDifference | None:
    details = [*_attributes(old, new)]
    outputs = [[value.name or "" for value in node.outputs] for node in (old, new)]
    if outputs[0] != outputs[1]:
        details.append(f"outputs: {_cut(', '.join(outputs[0]))} → {_cut(', '.join(outputs[1]))}")
    kind = "changed" if details else ""
    inputs = [[value.name or "" if value is not None else "" for value in node.inputs] for node in (old, new)]
    if inputs[0] != inputs[1]:
        details.append(f"inputs: {_cut(', '.join(inputs[0]))} → {_cut(', '.join(inputs[1]))}")
        kind = kind or "moved"
    retyped = _operator(old) != _operator(new)
    if not kind and not retyped:
        return None
    return NodeDifference(
        kind="retyped" if retyped else kind,
        name=_cut(name),
        op=_operator(new),
        old_op=_operator(old) if retyped else None,
        details=tuple(details),
    )


def _attributes(old: ir.Node, new: ir.Node) -> Iterator[str]:
    """Yield what differs in attributes; tensors and subgraphs in them are compared apart."""
    for name in sorted({*old.attributes, *new.attributes}):
        a, b = old.attributes.get(name), new.attributes.get(name)
        if a is None or b is None or _plain(a) != _plain(b):
            texts = ["absent" if value is None else _cut(_text(_plain(value)), 80) for value in (a, b)]
            if texts[0] == texts[1] or (_length(a) == _length(b) >= LONG):
                yield f"{name}: {_count_different(a, b)}"
            else:
                yield f"{name}: {texts[0]} → {texts[1]}"


def _plain(attribute: ir.Attr) -> object:
    if attribute.is_ref():
        return f"@{attribute.ref_attr_name}"
    if attribute.type in (ir.AttributeType.TENSOR, ir.AttributeType.TENSORS):
        return "a tensor"
    if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
        return "a subgraph"
    return attribute.value


def _text(value: object) -> str:
    if not isinstance(value, list | tuple):
        return str(value)
    more = f" and {len(value) - 12:,} more" if len(value) > 12 else ""
    return " ".join(map(str, value[:12])) + more


def _count_different(a: ir.Attr | None, b: ir.Attr | None) -> str:
    old, new = (attribute.value if attribute is not None else None for attribute in (a, b))
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        count = sum(x != y for x, y in zip(old, new, strict=False))
        return f"{count:,} of {len(new):,} values differ{_largest(old, new)}"
    return "another value"


def _length(attribute: ir.Attr | None) -> int:
    value = attribute.value if attribute is not None else None
    return len(value) if isinstance(value, list | tuple) else 0


def _largest(old: Sequence[Any], new: Sequence[Any]) -> str:
    """Return the largest difference of two lists of numbers in words; nothing where there is none or no number."""
    if len(old) != len(new) or not all(isinstance(value, int | float) for value in (*old[:1], *new[:1])):
        return ""
    with np.errstate(invalid="ignore", over="ignore"):
        largest = np.abs(np.asarray(new, np.float64) - np.asarray(old, np.float64)).max(initial=0.0)
    return f", by at most {largest:.4g}" if np.isfinite(largest) else ""


def _operator(node: ir.Node) -> str:
    return _cut(node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}")


# Tensors


def _tensors(before: ir.Model, after: ir.Model) -> Iterator[TensorDifference]:
    old = {slot.name: slot.tensor for slot in tensor_slots(before)}
    new = {slot.name: slot.tensor for slot in tensor_slots(after)}
    for name in dict.fromkeys((*new, *old)):
        found = _compare_tensors(name, old.get(name), new.get(name))
        if found is not None:
            yield found


def _compare_tensors(name: str, old: Tensor | None, new: Tensor | None) -> TensorDifference | None:
    known = TensorDifference(
        name=_cut(name),
        old=_form(old),
        new=_form(new),
        old_bytes=old.nbytes if old is not None else 0,
        new_bytes=new.nbytes if new is not None else 0,
    )
    if old is None or new is None or old.shape != new.shape:
        return known
    if ir.DataType.STRING in (old.dtype, new.dtype):
        texts = [tensor.numpy().reshape(-1).tolist() for tensor in (old, new)]
        count = sum(a != b for a, b in zip(*texts, strict=True))
        return _measured(known, count) if count or old.dtype != new.dtype else None
    if old.dtype == new.dtype and _is_same(old, new):
        return None
    return _measured(known, *_change(old, new))


def _measured(
    known: TensorDifference, elements: int, largest: float | None = None, relative: float | None = None
) -> TensorDifference:
    return TensorDifference(
        name=known.name, old=known.old, new=known.new, old_bytes=known.old_bytes, new_bytes=known.new_bytes,
        elements=elements, largest=largest, relative=relative,
    )  # fmt: skip


def _is_same(old: Tensor, new: Tensor) -> bool:
    return all(bytes(a) == bytes(b) for a, b in zip(tensor_blocks(old), tensor_blocks(new), strict=True))


def _change(old: Tensor, new: Tensor) -> tuple[int, float | None, float | None]:
    """Return how many elements differ, the largest difference, and its norm over the old tensor's."""
    a, b = (tensor.numpy().reshape(-1) for tensor in (old, new))
    elements, largest, change, whole = 0, 0.0, 0.0, 0.0
    for start in range(0, a.size, _ELEMENTS):
        x, y = (_numbers(array[start : start + _ELEMENTS]) for array in (a, b))
        with np.errstate(invalid="ignore", over="ignore"):
            difference = np.abs(y - x)
            elements += int(np.count_nonzero((x != y) & ~(np.isnan(x) & np.isnan(y))))
            largest = max(largest, float(difference.max(initial=0.0))) if not np.isnan(difference).any() else np.nan
            change += float(np.square(difference).sum())
            whole += float(np.square(np.abs(x)).sum())
    relative = (change / whole) ** 0.5 if whole else np.inf if change else 0.0
    return elements, _finite(largest), _finite(relative)


def _numbers(array: np.ndarray) -> np.ndarray:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _finite(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None


def _form(tensor: Tensor | None) -> str | None:
    if tensor is None:
        return None
    shape = "×".join(map(str, tensor.shape.numpy())) or "scalar"
    return f"{dtype_name(tensor.dtype)} {shape}"


def _kind(tensor: TensorDifference) -> str:
    if tensor.old is None or tensor.new is None:
        return "added" if tensor.old is None else "removed"
    return "values" if tensor.old == tensor.new else "retyped"


def _weight(tensor: TensorDifference) -> tuple[float, int, str]:
    """Sort what changed most first, then by size."""
    return (-(tensor.relative or 0.0), -max(tensor.old_bytes, tensor.new_bytes), tensor.name)


def _cut(text: str, limit: int = _TEXT) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
