"""The recipe's names, dtypes and dims, put into a model and read back from it; knows no tools and no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.describe import value_shape
from onnxbuild.ir.dtypes import dtype_name
from onnxbuild.ir.facts import ModelFacts, ValueFacts
from onnxbuild.ir.shapes import infer_output_dims
from onnxbuild.ir.walk import nested
from onnxbuild.recipe.types import Axis, Input, Output


def rename_io(model: ir.Model, inputs: Sequence[Input], outputs: Sequence[Output]) -> None:
    """Give the graph's inputs and outputs the recipe's names and order: by name where all names match, else by order.

    Raises StageFailure (`inputs-differ`, `outputs-differ`) when their numbers are not the same, `unsupported-model`
    where an output is no tensor.
    """
    own = [value for value in model.graph.inputs if not value.is_initializer()]
    ordered = _matched(own, [value.name for value in inputs], "inputs")
    results = _matched(list(model.graph.outputs), [value.name for value in outputs], "outputs")
    for value in results:
        if isinstance(value.type, ir.SequenceType | ir.OptionalType):
            kind = "a sequence" if isinstance(value.type, ir.SequenceType) else "an optional"
            raise StageFailure(
                "unsupported-model",
                f"output '{value.name}' is {kind}, not a tensor; only tensors can be compared with the source's",
                hint="make it a tensor in the model, as ConcatFromSequence does, or one output for each element",
            )
    results = _separate_outputs(model.graph, results)
    names = [value.name for value in inputs] + [value.name for value in outputs]
    _make_way(model, {*ordered, *results}, set(names))
    for value, name in zip([*ordered, *results], names, strict=True):
        value.name = name
    model.graph.inputs[:] = ordered
    model.graph.outputs[:] = results


def set_dims(model: ir.Model, inputs: Sequence[Input], axes: Mapping[str, Axis]) -> None:
    """Give the inputs the recipe's dims, and the outputs what follows from them.

    A size of the recipe fixes a dynamic dim of the source; an axis name renames one. Raises StageFailure
    (`dtype-differs`, `shape-differs`, `fixed-dim`): a fixed dim may not be made dynamic. Inputs are already in the
    recipe's order (see `rename_io`).
    """
    symbols: dict[str, int | str] = {}
    for value, wanted in zip(model.graph.inputs, inputs, strict=True):
        _check_dtype(value, wanted)
        found = value_shape(value)
        if found is not None and len(found) != len(wanted.shape):
            raise StageFailure(
                "shape-differs",
                f"input '{wanted.name}' has rank {len(found)} ({_dims(found)}); the recipe says {_dims(wanted.shape)}",
                hint=f"write `shape: {_dims(found)}`",
            )
        for axis, (have, want) in enumerate(zip(found or [None] * len(wanted.shape), wanted.shape, strict=True)):
            _check_dim(wanted, axis, have, want)
            if isinstance(have, str):
                symbols.setdefault(have, want)
        value.shape = ir.Shape(wanted.shape)
    for value in model.graph.outputs:
        dims = value_shape(value)
        if dims is not None:
            mapped = [symbols.get(dim) if isinstance(dim, str) else dim for dim in dims]
            value.shape = ir.Shape([dim if isinstance(dim, int) or dim in axes else None for dim in mapped])
    infer_output_dims(model, set(axes))


def check_contract(
    facts: ModelFacts,
    inputs: Sequence[Input],
    outputs: Sequence[Output],
    *,
    opset: int | None,
    ir_version: int | None,
) -> None:
    """Compare what a model file delivers with what the recipe says, exactly.

    Raises StageFailure (`contract-broken`) that lists every difference.
    """
    wrong = _name_differences("inputs", facts.inputs, [v.name for v in inputs])
    wrong += _name_differences("outputs", facts.outputs, [v.name for v in outputs])
    declared = {value.name: value for value in inputs}
    for value in facts.inputs:
        want = declared.get(value.name)
        if want is None:
            continue
        if value.dtype != want.dtype:
            wrong.append(f"input '{value.name}' is {value.dtype}, not {want.dtype}")
        wrong += _dim_differences(value, want)
    if opset is not None and facts.opsets.get("") != opset:
        wrong.append(f"the opset is {facts.opsets.get('')}, not {opset}")
    if ir_version is not None and facts.ir_version != ir_version:
        wrong.append(f"the IR version is {facts.ir_version}, not {ir_version}")
    if wrong:
        raise StageFailure("contract-broken", "the model is not what the recipe says: " + "; ".join(wrong))


def _matched(values: list[ir.Value], names: list[str], kind: str) -> list[ir.Value]:
    by_name = {value.name: value for value in values}
    if len(values) != len(names):
        have = ", ".join(f"'{value.name}'" for value in values) or "none"
        raise StageFailure(
            f"{kind}-differ",
            f"the model has {len(values)} {kind} ({have}); the recipe names {len(names)}",
            hint=f"list the model's {kind} in the recipe, in their order",
        )
    return [by_name[name] for name in names] if set(by_name) == set(names) else values


def _separate_outputs(graph: ir.Graph, outputs: list[ir.Value]) -> list[ir.Value]:
    """Return outputs that can be renamed: inputs, initializers and repeated values get an Identity of their own."""
    separate: list[ir.Value] = []
    for value in outputs:
        if value.producer() is not None and value not in separate:
            separate.append(value)
            continue
        copy = ir.Value(name=f"{value.name}_copy", type=value.type, shape=value.shape)
        graph.append(ir.Node("", "Identity", [value], outputs=[copy], name=f"Identity_{len(separate) + 1}"))
        separate.append(copy)
    return separate


def _make_way(model: ir.Model, interface: set[ir.Value], names: set[str]) -> None:
    """Rename inner values that carry a name which an input or output is to get."""
    taken = set(names)
    for body in nested(model.graph):
        values = [value for node in body for value in node.outputs]
        if isinstance(body, ir.Graph):
            values += [*body.initializers.values(), *body.inputs]
        taken |= {value.name for value in values if value.name}
    for body in nested(model.graph):
        values = [value for node in body for value in node.outputs]
        if isinstance(body, ir.Graph):
            values += [*body.initializers.values(), *body.inputs]
        for value in values:
            if value.name in names and value not in interface:
                number = 2
                while f"{value.name}_{number}" in taken:
                    number += 1
                value.name = f"{value.name}_{number}"
                taken.add(value.name)


def _check_dtype(value: ir.Value, wanted: Input) -> None:
    have = dtype_name(value.dtype)
    if isinstance(value.type, ir.SequenceType | ir.OptionalType):
        raise StageFailure(
            "dtype-differs",
            f"input '{wanted.name}' is no tensor but a {type(value.type).__name__}; only tensors can be inputs",
        )
    if have != wanted.dtype:
        raise StageFailure(
            "dtype-differs",
            f"input '{wanted.name}' is {have} in the model; the recipe says {wanted.dtype}",
            hint=f"write `dtype: {have}`",
        )


def _check_dim(wanted: Input, axis: int, have: int | str | None, want: int | str) -> None:
    if not isinstance(have, int) or have == want:
        return
    if isinstance(want, str):
        raise StageFailure(
            "fixed-dim",
            f"axis {axis} of input '{wanted.name}' is fixed to {have} in the model; it cannot be the dynamic '{want}'",
            hint=f"write {have} in place of {want}, or export the model with this axis dynamic",
        )
    raise StageFailure(
        "shape-differs",
        f"axis {axis} of input '{wanted.name}' is {have} in the model; the recipe says {want}",
        hint=f"write {have} in place of {want}",
    )


def _name_differences(kind: str, found: tuple[ValueFacts, ...], wanted: list[str]) -> list[str]:
    have = [value.name for value in found]
    return [] if have == wanted else [f"the {kind} are {have}, not {wanted}"]


def _dim_differences(value: ValueFacts, want: Input) -> list[str]:
    """Return what is wrong with each axis of a delivered input: static where dynamic is declared, or the reverse."""
    if value.shape is None or len(value.shape) != len(want.shape):
        return [f"input '{value.name}' has dims {_dims(value.shape)}, not {_dims(want.shape)}"]
    wrong = []
    for axis, (have, wanted) in enumerate(zip(value.shape, want.shape, strict=True)):
        if have == wanted:
            continue
        came = f"fixed to {have}" if isinstance(have, int) else f"dynamic ('{have}')" if have else "without a name"
        declared = str(wanted) if isinstance(wanted, int) else f"the dynamic '{wanted}'"
        wrong.append(f"axis {axis} of input '{value.name}' came out {came}, where {declared} is declared")
    return wrong


def _dims(shape: Sequence[int | str | None] | None) -> str:
    return "of unknown rank" if shape is None else "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"
