"""The optimize stage: one entry of `passes`, applied and compared with its input on probe calls."""

from __future__ import annotations

import msgspec

from onnxbuild.ir.facts import ModelFacts
from onnxbuild.recipe.types import OutputTolerance, Pass


class OptimizeParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of optimize. Inputs: `model`, `probe`; workspace file `custom` for a custom pass.

    `limits` maps an output to the absolute and relative limit the pass must keep: a tenth of the recipe's
    tolerance, else atol 1e-5, rtol 1e-3.
    """

    step: Pass
    opset: int | None
    ir_version: int | None
    limits: dict[str, OutputTolerance]


class OptimizeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the pass did. Output: `model`. `worst` maps an output to the largest absolute difference on the probe."""

    model: ModelFacts
    changed: bool
    nodes_before: int
    worst: dict[str, float] = {}
