"""The quantize stage: dynamic, static, float16 or int4, through ONNX Runtime's and its converters' own arithmetic."""

from __future__ import annotations

import msgspec

from onnxbuild.ir.facts import ModelFacts
from onnxbuild.recipe.types import Quantization


class QuantizeParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of quantize, with what the chosen mode does not use at its default. Inputs: `model`, `calibration` (static), `origins`."""

    quantization: Quantization


class QuantizeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was quantised. Output: `model`. `quantized` and `kept` count nodes by operator type; `excluded` lists node names."""

    model: ModelFacts
    changed: bool
    quantized: dict[str, int] = {}
    kept: dict[str, int] = {}
    excluded: tuple[str, ...] = ()
