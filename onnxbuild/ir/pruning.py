"""Which weights of a graph become zero, and setting them so, one tensor at a time; knows no files and no stages.

Weights are the constant operands of MatMul and Gemm (at least two dims) and the kernels of Conv and ConvTranspose,
wherever they are kept: initializers, Constant nodes, subgraphs, arguments of functions; a Transpose, Identity or
Cast between weight and operator is looked through. A weight that several nodes share is pruned once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import onnx_ir as ir

from onnxbuild.base.patterns import is_any_match, require_matches
from onnxbuild.ir import ranking
from onnxbuild.ir.walk import nodes
from onnxbuild.recipe.types import Pruning

FLOATS = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE)
Rule = Callable[[np.ndarray], np.ndarray]
"""From a tensor to the mask of elements to become zero."""


@dataclass
class Weight:
    """A float tensor that pruning may touch. `axis` is its reduction axis, `nodes` all nodes that use it."""

    name: str
    tensor: ir.TensorProtocol
    axis: int
    value: ir.Value
    nodes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pruned:
    """What became of one weight: elements, and zeros before and after."""

    name: str
    node: str
    elements: int
    zeros_before: int
    zeros: int


def prune(model: ir.Model, pruning: Pruning) -> list[Pruned]:
    """Set weights of `model` to zero as `pruning` says, in place, and return what was considered.

    The new tensors are computed when they are written, so that no more than one is in memory.
    """
    weights = _select(find_weights(model), pruning)
    rules = _rules(weights, pruning)
    results = []
    for weight, rule in zip(weights, rules, strict=True):
        before = weight.tensor.numpy()
        mask = rule(before)
        zeros = int(np.count_nonzero(before == 0))
        added = int(np.count_nonzero(mask & (before != 0)))
        results.append(
            Pruned(
                name=weight.name,
                node=weight.nodes[0],
                elements=before.size,
                zeros_before=zeros,
                zeros=zeros + added,
            )
        )
        if added:
            _replace(weight, rule)
    return results


def find_weights(model: ir.Model) -> list[Weight]:
    """Return the prunable weights of a model in the order in which nodes use them."""
    arguments = _arguments(model)
    found: dict[int, Weight] = {}
    for node in nodes(model):
        for value, axis in _operands(node):
            for source, source_axis in _trace(value, axis, arguments):
                weight = _weight(source, source_axis)
                if weight is not None:
                    entry = found.setdefault(id(source), weight)
                    entry.nodes.append(node.name or "")
    return list(found.values())


def _operands(node: ir.Node) -> Iterator[tuple[ir.Value, int]]:
    """Yield the operands of `node` that may be weights, each with the axis it is multiplied and summed along.

    For Conv it is the input channels, the axis along which hardware expects n:m groups.
    """
    if node.domain not in ("", "ai.onnx"):
        return
    inputs = node.inputs
    candidates: list[tuple[int, int]] = []
    if node.op_type == "MatMul":
        candidates = [(0, -1), (1, -2)]
    elif node.op_type == "Gemm":
        candidates = [(0, -2 if _flag(node, "transA") else -1), (1, -1 if _flag(node, "transB") else -2)]
    elif node.op_type in ("Conv", "ConvTranspose"):
        candidates = [(1, 1 if node.op_type == "Conv" else 0)]
    for index, axis in candidates:
        if index < len(inputs) and (value := inputs[index]) is not None:
            yield value, axis


def _flag(node: ir.Node, name: str) -> bool:
    attribute = node.attributes.get(name)
    return attribute is not None and attribute.as_int() != 0


Arguments = dict[int, list[ir.Value]]
"""The values that callers pass for a function's formal input, by the identity of the formal input."""


def _arguments(model: ir.Model) -> Arguments:
    passed: Arguments = {}
    for node in nodes(model):
        function = model.functions.get(node.op_identifier())
        if function is not None:
            for formal, value in zip(function.inputs, node.inputs, strict=False):
                if value is not None:
                    passed.setdefault(id(formal), []).append(value)
    return passed


def _trace(value: ir.Value, axis: int, arguments: Arguments) -> Iterator[tuple[ir.Value, int]]:
    """Follow `value` back to where it is constant, through Transpose, Identity, Cast and function arguments."""
    node = value.producer()
    if node is None and id(value) in arguments:
        for argument in arguments[id(value)]:
            yield from _trace(argument, axis, arguments)
    elif node is None or node.op_type not in ("Identity", "Cast", "Transpose") or node.inputs[0] is None:
        yield value, axis
    elif node.op_type != "Transpose":
        yield from _trace(node.inputs[0], axis, arguments)
    elif "perm" in node.attributes:
        yield from _trace(node.inputs[0], node.attributes["perm"].as_ints()[axis], arguments)
    else:
        yield from _trace(node.inputs[0], -1 - axis, arguments)


def _weight(value: ir.Value, axis: int) -> Weight | None:
    node = value.producer()
    tensor: ir.TensorProtocol | None
    if node is None:
        tensor = value.const_value if value.is_initializer() else None
    elif node.op_type == "Constant" and "value" in node.attributes:
        tensor = node.attributes["value"].as_tensor()
    else:
        tensor = None
    if tensor is None or tensor.dtype not in FLOATS:
        return None
    rank = len(tensor.shape)
    if rank < 2 or tensor.size == 0 or not -rank <= axis < rank:
        return None
    return Weight(name=value.name or "", tensor=tensor, axis=axis % rank, value=value)


def _select(weights: list[Weight], pruning: Pruning) -> list[Weight]:
    names = [name for weight in weights for name in (weight.name, *weight.nodes)]
    require_matches((*pruning.include, *pruning.exclude), names, "nodes and weights that can be pruned")
    return [
        weight
        for weight in weights
        if (not pruning.include or is_any_match(pruning.include, (weight.name, *weight.nodes)))
        and not is_any_match(pruning.exclude, (weight.name, *weight.nodes))
    ]


def _rules(weights: Sequence[Weight], pruning: Pruning) -> list[Rule]:
    match pruning.method:
        case "magnitude" if pruning.scope == "global":
            assert pruning.sparsity is not None
            cuts = ranking.cut([weight.tensor for weight in weights], pruning.sparsity)
            return [partial(ranking.mask_below, cut=cut) for cut in cuts]
        case "magnitude":
            assert pruning.sparsity is not None
            return [partial(ranking.mask_below, cut=ranking.cut([w.tensor], pruning.sparsity)[0]) for w in weights]
        case "threshold":
            assert pruning.threshold is not None
            return [partial(_under, threshold=pruning.threshold, share=pruning.min_sparsity) for _ in weights]
        case "n:m":
            assert pruning.n is not None
            assert pruning.m is not None
            return [partial(_all_but_n, axis=weight.axis, n=pruning.n, m=pruning.m) for weight in weights]
        case other:
            raise AssertionError(f"unknown pruning method {other}")


def _under(array: np.ndarray, threshold: float, share: float) -> np.ndarray:
    """Return the elements strictly under `threshold`, or none unless they are more than `share` of the tensor."""
    mask = np.abs(array.astype(np.float64)) < threshold
    return mask if np.count_nonzero(mask) > share * array.size else np.zeros_like(mask)


def _all_but_n(array: np.ndarray, axis: int, n: int, m: int) -> np.ndarray:
    """Return all but the `n` largest magnitudes of every `m` consecutive elements along `axis`.

    A last group of fewer than m elements keeps its n largest too, as if padded with zeros. Of equal magnitudes
    the first stay.
    """
    moved = np.moveaxis(array, axis, -1)
    lines = moved.reshape(-1, moved.shape[-1])
    mask = np.empty(lines.shape, dtype=bool)
    block = max(1, ranking.BLOCK // lines.shape[1])
    for start in range(0, len(lines), block):
        mask[start : start + block] = _all_but_n_of_lines(lines[start : start + block], n, m)
    return np.moveaxis(mask.reshape(moved.shape), -1, axis)


def _all_but_n_of_lines(lines: np.ndarray, n: int, m: int) -> np.ndarray:
    count, length = lines.shape
    magnitude = np.nan_to_num(np.abs(lines.astype(np.float64)), nan=np.inf, posinf=np.inf)  # NaN is never pruned
    magnitude = np.pad(magnitude, [(0, 0), (0, -length % m)], constant_values=-1.0)
    groups = magnitude.reshape(count, -1, m)
    order = np.argsort(-groups, axis=-1, kind="stable")
    mask = np.ones(groups.shape, dtype=bool)
    np.put_along_axis(mask, order[..., :n], values=False, axis=-1)
    return mask.reshape(count, -1)[:, :length]


def _replace(weight: Weight, rule: Rule) -> None:
    def compute() -> ir.TensorProtocol:
        array = weight.tensor.numpy().copy()
        array[rule(array)] = 0
        return ir.Tensor(array, dtype=weight.tensor.dtype, name=weight.tensor.name)

    shape = ir.Shape(weight.tensor.shape.numpy())
    lazy = ir.LazyTensor(compute, dtype=weight.tensor.dtype, shape=shape, name=weight.tensor.name)
    node = weight.value.producer()
    if node is None:
        weight.value.const_value = lazy
    else:
        node.attributes["value"] = ir.AttrTensor("value", lazy)
