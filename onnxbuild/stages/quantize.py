"""The quantize stage: dynamic, static, float16 or int4, as the recipe asks; knows no tool and tries nothing else."""

from __future__ import annotations

import msgspec

from onnxbuild.ir.facts import ModelFacts
from onnxbuild.recipe.types import Quantization
from onnxbuild.stages.packages import MODEL, ONNXRUNTIME, PRELOAD
from onnxbuild.stages.stage import Stage, Workspace


class QuantizeParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of quantize, with what the chosen mode does not use at its default.

    Inputs: `model`, and `calibration` (static).
    """

    quantization: Quantization


class QuantizeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was quantised. Output: `model`.

    `quantized` and `kept` count nodes by operator type; `excluded` lists node names.
    """

    model: ModelFacts
    changed: bool
    quantized: dict[str, int] = {}
    kept: dict[str, int] = {}
    excluded: tuple[str, ...] = ()


def run(params: QuantizeParams, ws: Workspace) -> QuantizeFacts:
    """Quantise the model; one in which nothing could be quantised is delivered as it is, with a warning."""
    from onnxbuild.data.calls import read_calls
    from onnxbuild.stages import delivery
    from onnxbuild.stages.quantizing import quantize_model

    calls = read_calls(ws.inputs["calibration"]) if "calibration" in ws.inputs else None
    result = quantize_model(ws.inputs["model"], params.quantization, (), calls, ws.scratch / "quantize")
    for remark in result.warnings:
        ws.warn(remark.code, remark.message)
    return QuantizeFacts(
        model=delivery.deliver(result.folder, ws),
        changed=bool(result.quantized),
        quantized=result.quantized,
        kept=result.kept,
        excluded=result.excluded,
    )


QUANTIZE = Stage(
    name="quantize",
    version=1,
    params=QuantizeParams,
    facts=QuantizeFacts,
    run=run,
    packages=lambda _: (*MODEL, ONNXRUNTIME),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda _: False,
    seconds=2.0,
)
