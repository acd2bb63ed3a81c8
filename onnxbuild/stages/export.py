"""The export stage: the source model becomes a canonical ONNX model with the recipe's names, dims and opset."""

from __future__ import annotations

import msgspec

from onnxbuild.ir.facts import ModelFacts
from onnxbuild.recipe.types import Axis, Input, Output, Source


class ExportParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of export (and canonicalize). Workspace files: `factory`, `weights`, `path` where the source has them.

    `source` is the recipe's without pin, reads and env. `opset` None: the ONNX source's own.
    """

    source: Source
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    axes: dict[str, Axis]
    opset: int | None
    ir_version: int | None


class ExportFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was exported. Outputs: `model` (a model artifact) and `origins` (origins.json: node name to ir.facts.Origin)."""

    model: ModelFacts
