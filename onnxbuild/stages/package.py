"""The package stage: the proved model as a folder that a deployment can use; gates and names are added on delivery."""

from __future__ import annotations

import msgspec

from onnxbuild.ir.facts import ModelFacts
from onnxbuild.recipe.types import Axis, Input, Output, Package, Session


class PackageParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of package. Input: `model`."""

    package: Package
    session: Session
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    axes: dict[str, Axis]
    opset: int | None
    ir_version: int | None


class PackageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is delivered. Output: `package` (model.onnx, its external data). `digests` maps a file to its SHA-256."""

    model: ModelFacts
    digests: dict[str, str]
