"""What a small foreign file may grow into: functions inlined, shapes filled; knows nothing of files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import onnx

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.external import bad, hostile

MAX_RANK = 64
MAX_FUNCTION_DEPTH = 200
MAX_EXPANDED = 1_000_000
"""Nodes once every function call is replaced by the function's body."""
MAX_MADE = 2**28
"""Elements that one node may make out of a constant shape."""
_SHAPE_INPUTS = {"Expand": 1, "ConstantOfShape": 0, "Tile": 1, "Reshape": 1, "Upsample": 1, "Resize": 3}

Graph = onnx.GraphProto | onnx.FunctionProto


def check_functions(model: onnx.ModelProto) -> None:
    """Count the nodes after inlining: ten functions that each call the next twice make a thousand."""
    functions = {(f.domain, f.name): f for f in model.functions}
    if len(functions) < len({(f.domain, f.name, f.overload) for f in model.functions}):
        raise StageFailure("unsupported-model", "the model holds overloaded functions", hint="inline them first")
    if len(functions) < len(model.functions):
        raise bad("it defines a function twice")
    sizes: dict[tuple[str, str], int] = {}
    calls = {key: _calls(function, functions) for key, function in functions.items()}
    waiting, depth = dict(calls), 0
    while waiting:  # from the leaves up, so that no recursion of ours can be driven deep
        depth += 1
        if depth > MAX_FUNCTION_DEPTH:
            raise hostile(f"its functions call each other more than {MAX_FUNCTION_DEPTH} deep")
        ready = [key for key, called in waiting.items() if all(other in sizes for other in called)]
        if not ready:
            raise hostile(f"its functions call each other in a circle, '{next(iter(waiting))[1]}' among them")
        for key in ready:
            called = waiting.pop(key)
            sizes[key] = _node_count(functions[key]) + sum(sizes[other] * n for other, n in called.items())
            if sizes[key] > MAX_EXPANDED:
                raise hostile(f"function '{key[1]}' takes more than {MAX_EXPANDED} nodes once its calls are inlined")
    total = sum(sizes[other] * n for other, n in _calls(model.graph, functions).items())
    if total > MAX_EXPANDED:
        raise hostile(f"it takes more than {MAX_EXPANDED} nodes once its functions are inlined")


def _calls(graph: Graph, functions: dict[tuple[str, str], onnx.FunctionProto]) -> Counter[tuple[str, str]]:
    keys = ((node.domain, node.op_type) for inner in nested_of(graph) for node in inner.node)
    return Counter(key for key in keys if key in functions)


def _node_count(graph: Graph) -> int:
    return sum(len(inner.node) for inner in nested_of(graph))


def check_shapes(graph: Graph) -> None:
    """Refuse nodes that make huge tensors out of tiny constants, or take shapes of absurd rank."""
    constants = _small_constants(graph)
    declared = {value.name: value.type.tensor_type.shape.dim for value in graph.value_info}
    if isinstance(graph, onnx.GraphProto):
        declared |= {value.name: value.type.tensor_type.shape.dim for value in graph.input}
    for node in graph.node:
        index = _SHAPE_INPUTS.get(node.op_type)
        if index is not None and index < len(node.input):
            dims = declared.get(node.input[index])
            if dims is not None and len(dims) == 1 and dims[0].dim_value > MAX_RANK:
                raise hostile(
                    f"node '{node.name}' ({node.op_type}) takes a shape of {dims[0].dim_value} dims", node.name
                )
        made = _made(node, constants)
        if made > MAX_MADE:
            raise hostile(f"node '{node.name}' ({node.op_type}) makes {made} elements out of a constant", node.name)


def _made(node: onnx.NodeProto, constants: dict[str, list[float]]) -> int:
    """Return how many elements a node makes at least, as far as constants alone tell."""
    values = [constants.get(name) for name in node.input]
    match node.op_type:
        case "Expand" | "Tile" if len(values) > 1 and values[1]:
            return _product(values[1])
        case "ConstantOfShape" if values and values[0]:
            return _product(values[0])
        case "Resize" | "Upsample" if len(node.input) > 1:
            return max((_product(v) for v in values[1:] if v), default=0)
        case "Pad":
            pads = [list(a.ints) for a in node.attribute if a.name in ("pads", "paddings")]
            if len(values) > 1 and values[1]:
                pads.append([int(v) for v in values[1]])
            return max((abs(v) for listed in pads for v in listed), default=0)
        case "Range" if len(values) == 3 and all(values):
            start, limit, step = (v[0] for v in values if v)
            return int(max(0.0, (limit - start) / step)) if step else 0
        case "RandomUniform" | "RandomNormal":
            return max((_product(list(a.ints)) for a in node.attribute if a.name == "shape"), default=0)
        case "OneHot" if len(values) > 1 and values[1]:
            return int(values[1][0])
        case _:
            return 0


def _product(values: list[float] | list[int]) -> int:
    product = 1
    for value in values:
        if value == value and abs(value) != float("inf"):
            product *= max(1, int(abs(value)))
    return product


def _small_constants(graph: Graph) -> dict[str, list[float]]:
    """Return the values of constants of at most 64 numbers, by name."""
    tensors = [(t.name, t) for t in graph.initializer] if isinstance(graph, onnx.GraphProto) else []
    found: dict[str, list[float]] = {}
    for node in graph.node:
        if node.op_type != "Constant" or not node.output:
            continue
        for attribute in node.attribute:
            if attribute.name == "value":
                tensors.append((node.output[0], attribute.t))
            elif attribute.name in ("value_ints", "value_int"):
                found[node.output[0]] = [*attribute.ints] or [attribute.i]
    for name, tensor in tensors:
        if tensor.data_location != onnx.TensorProto.EXTERNAL and len(tensor.dims) <= 1:
            values = _numbers(tensor)
            if values is not None:
                found[name] = values
    return found


def _numbers(tensor: onnx.TensorProto) -> list[float] | None:
    numeric = (onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
    if tensor.data_type not in numeric or any(dim > MAX_RANK for dim in tensor.dims):
        return None
    try:
        return [float(v) for v in onnx.numpy_helper.to_array(tensor).reshape(-1).tolist()]
    except ValueError:
        return None  # its length is wrong, which is said where tensors are checked


def graphs_of(model: onnx.ModelProto) -> Iterator[Graph]:
    """Yield the graph, the functions, and every subgraph below them."""
    for root in (model.graph, *model.functions):
        yield from nested_of(root)


def nested_of(graph: Graph) -> Iterator[Graph]:
    """Yield a graph and every subgraph below it."""
    waiting: list[Graph] = [graph]
    while waiting:
        current = waiting.pop()
        yield current
        for node in current.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting.extend(attribute.graphs)
