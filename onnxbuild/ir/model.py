"""A model artifact on disk: a folder with `model.onnx` and, above a size, one external weights file; knows no tools."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
from onnx_ir import external_data

MODEL = "model.onnx"
WEIGHTS = "model.onnx.data"
INLINE_LIMIT = 1_000_000
"""Bytes of weights above which they go to a file of their own."""


def read_model(folder: Path) -> ir.Model:
    """Return the model of an artifact folder, its external weights memory-mapped."""
    return ir.load(folder / MODEL)


def write_model(model: ir.Model, folder: Path) -> None:
    """Write `model` as an artifact: the same model gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    total = sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None)
    if total <= INLINE_LIMIT:
        ir.save(external_data.load_to_model(model), folder / MODEL)
    else:
        ir.save(model, folder / MODEL, external_data=WEIGHTS, size_threshold_bytes=1024)
