"""What a loaded model says of its inputs and outputs, matched to what the recipe declares; knows no framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import Axis, Input


@dataclass(frozen=True)
class SourceValue:
    """One input of the model: `dtype` is numpy's name or "string"; a dim None is dynamic, a shape None of any rank."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


def match_inputs(declared: Sequence[Input], values: Sequence[SourceValue]) -> tuple[SourceValue, ...]:
    """Return the model's inputs in the recipe's order: by name where all names match, else in the order given.

    Raises StageFailure when the numbers of inputs differ, or dtypes or dims do not fit.
    """
    if len(declared) != len(values):
        raise StageFailure(
            "source-inputs",
            f"the recipe declares {len(declared)} inputs, the model takes {len(values)}: {_listed(values)}",
            hint="declare each input of the model under `inputs`",
        )
    by_name = {value.name: value for value in values}
    if by_name.keys() == {item.name for item in declared}:
        matched = tuple(by_name[item.name] for item in declared)
    else:
        matched = tuple(values)
    for item, value in zip(declared, matched, strict=True):
        check_input(item, value)
    return matched


def match_outputs(wanted: Sequence[str], given: Sequence[str]) -> tuple[int, ...]:
    """Return the position of each wanted output among those given: by name where all match, else by order.

    Raises StageFailure when neither works; by name, outputs that the recipe leaves out are dropped.
    """
    if len(set(given)) == len(given) and set(wanted) <= set(given):
        return tuple(given.index(name) for name in wanted)
    if len(wanted) != len(given):
        raise StageFailure(
            "source-outputs",
            f"the recipe names {len(wanted)} outputs, the model has {len(given)}: {', '.join(given)}",
            hint="name all outputs under `outputs`, or some by the model's own names",
        )
    return tuple(range(len(given)))


def check_input(declared: Input, value: SourceValue) -> None:
    """Raise StageFailure when the declared dtype or dims cannot be had of the model's input."""
    if declared.dtype != value.dtype:
        raise StageFailure(
            "source-inputs",
            f"input '{declared.name}' is declared {declared.dtype}, but the model's '{value.name}' is {value.dtype}",
            hint=f"write `dtype: {value.dtype}`",
        )
    if value.shape is None:
        return
    if len(declared.shape) != len(value.shape):
        raise StageFailure(
            "source-inputs",
            f"input '{declared.name}' is declared with {len(declared.shape)} dims, the model's '{value.name}' "
            f"has {len(value.shape)}: {_shape(value.shape)}",
        )
    for dim, own in zip(declared.shape, value.shape, strict=True):
        if own is None or dim == own:
            continue
        if isinstance(dim, str):
            raise StageFailure(
                "axis-not-dynamic",
                f"axis '{dim}' of input '{declared.name}' cannot be dynamic: the model fixes it to {own}",
                hint=f"write {own} in place of '{dim}', or save the model again with this axis left open",
            )
        raise StageFailure(
            "source-inputs",
            f"input '{declared.name}' is declared as {_shape(declared.shape)}, the model's '{value.name}' "
            f"is {_shape(value.shape)}",
        )


def smallest_shape(declared: Input, axes: dict[str, Axis]) -> tuple[int, ...]:
    """Return the declared shape with each dynamic axis at the smallest size its range allows."""
    return tuple(dim if isinstance(dim, int) else _smallest(axes.get(dim)) for dim in declared.shape)


def _smallest(axis: Axis | None) -> int:
    if axis is None:
        return 1
    return -(-max(axis.min, 1) // axis.multiple_of) * axis.multiple_of


def _listed(values: Sequence[SourceValue]) -> str:
    return (
        ", ".join(f"{v.name} ({v.dtype}{'' if v.shape is None else ' ' + _shape(v.shape)})" for v in values) or "none"
    )


def _shape(shape: Sequence[int | str | None]) -> str:
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in shape) + "]"
