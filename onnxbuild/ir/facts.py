"""What a model is, as values that a report can show without reading the model; knows nothing of how they were found."""

from __future__ import annotations

import msgspec


class ValueFacts(msgspec.Struct, frozen=True):
    """A graph input or output. `dtype` is numpy's name or "string"; a dim is a size, a symbol, or None when unknown.

    `shape` None means that the model declares no rank.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


class InitializerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One weight tensor: `zeros` is the number of elements that are exactly zero (None: not counted)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    zeros: int | None = None


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A model in numbers.

    `opsets` maps a domain ("" is ONNX's own) to its version; `operators` an operator ("Conv",
    "com.microsoft.FusedConv") to its count, subgraphs and functions included; `bytes` is the graph file and its
    external data; `weights` the largest tensors first (Constant nodes included), at most 50 of `weight_tensors`.
    """

    inputs: tuple[ValueFacts, ...]
    outputs: tuple[ValueFacts, ...]
    opsets: dict[str, int]
    ir_version: int
    nodes: int
    operators: dict[str, int]
    bytes: int
    weight_bytes: int
    weight_tensors: int
    weight_bytes_by_dtype: dict[str, int]
    weights: tuple[InitializerFacts, ...]
    metadata: dict[str, str] = {}


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a node came from in the source: module path, and the file (as the source names it) and line if known."""

    module: str
    file: str | None = None
    line: int | None = None
