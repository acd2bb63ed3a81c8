"""What a saved model tells of itself, the facts that a drafted recipe is made from; knows no framework."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from onnxbuild.recipe.types import Framework, Output


class DescribedAxis(msgspec.Struct, frozen=True, kw_only=True):
    """What the model knows of a dynamic axis: `max` None where it sets no limit."""

    min: int = 1
    max: int | None = None
    multiple_of: int = 1


class DescribedInput(msgspec.Struct, frozen=True, kw_only=True):
    """One input. A dim is a size, a symbol that the model uses, or None for an axis without a name.

    `dtype` is numpy's name or "string", None where the model takes several; `shape` None where it takes any rank.
    `note` says in one sentence what the reader should know or fill in.
    """

    name: str
    dtype: str | None
    shape: tuple[int | str | None, ...] | None
    note: str = ""


class SourceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A saved model as its framework sees it.

    `axes` are by symbol; `signature` is a SavedModel's; `opset` an ONNX file's own; `files` are further files of the
    model, relative to its folder; `notes` are sentences for the reader of a drafted recipe.
    """

    framework: Framework
    inputs: tuple[DescribedInput, ...]
    outputs: tuple[Output, ...]
    axes: dict[str, DescribedAxis] = {}
    signature: str | None = None
    opset: int | None = None
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def open_dims(shape: Sequence[Any] | None) -> tuple[int | None, ...] | None:
    """Return a framework's shape with each dim a size or None; frameworks write None or a negative number."""
    return None if shape is None else tuple(None if dim is None or int(dim) < 0 else int(dim) for dim in shape)
