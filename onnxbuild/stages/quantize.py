"""The quantize stage: dynamic, static, float16 or int4, as the recipe asks; knows no tool and tries nothing else."""

from __future__ import annotations

import msgspec

from onnxbuild.ir.facts import ModelFacts
from onnxbuild.recipe.types import Quantization
from onnxbuild.stages.packages import MODEL, ONNXRUNTIME, PRELOAD
from onnxbuild.stages.stage import Stage, Workspace


class QuantizeParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of quantize, with what the chosen mode does not use at its default.

    Inputs: `model`, and `calibration` (static; float16: calls that tell how large values become). `mends` goes on
    where a tool fails, with as little given up as will do; with `is_opset_free` that may be the opset. Both are limits
    and in no key: what was quantised as asked is the same without them.
    """

    quantization: Quantization
    mends: bool = False
    is_opset_free: bool = False


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """One step down from what was asked for: what failed and why, and what was done instead.

    `kind` is what was given up: opset, per_channel, quantized (what was so already) or nodes.
    """

    kind: str
    failure: str
    instead: str


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """Weights of one operator type that stay in float: of how many nodes, how many bytes, and why."""

    op_type: str
    nodes: int
    bytes: int
    reason: str


class QuantizeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was quantised. Output: `model`.

    `quantized` and `kept` count nodes by operator type; `excluded` lists node names, `held` those of nodes that stay
    in float32 because float16 could not hold their values. `tried` is what was given up where tools failed, in order,
    `left` are weights that stay in float (not for float16), largest first.
    """

    model: ModelFacts
    changed: bool
    quantized: dict[str, int] = {}
    kept: dict[str, int] = {}
    excluded: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    tried: tuple[Rung, ...] = ()
    left: tuple[Left, ...] = ()


def run(params: QuantizeParams, ws: Workspace) -> QuantizeFacts:
    """Quantise the model; one in which nothing could be quantised is delivered as it is, with a warning."""
    from onnxbuild.data.calls import read_calls
    from onnxbuild.stages import delivery
    from onnxbuild.stages.mending import Ladder
    from onnxbuild.stages.quantizing import quantize_model

    calls = read_calls(ws.inputs["calibration"]) if "calibration" in ws.inputs else None
    source, scratch = ws.inputs["model"], ws.scratch / "quantize"
    tried: tuple[Rung, ...] = ()
    if params.mends:
        ladder = Ladder(source, calls, scratch, is_opset_free=params.is_opset_free)
        mended = ladder.quantize(params.quantization)
        result, tried = mended.quantized, mended.tried
    else:
        result = quantize_model(source, params.quantization, (), calls, scratch)
    for remark in result.warnings:
        ws.warn(remark.code, remark.message)
    return QuantizeFacts(
        model=delivery.deliver(result.folder, ws),
        changed=bool(result.quantized),
        quantized=result.quantized,
        kept=result.kept,
        excluded=result.excluded,
        held=result.held,
        tried=tried,
        left=result.left,
    )


def _holds(params: QuantizeParams, facts: QuantizeFacts) -> bool:
    upgraded = any(rung.kind == "opset" for rung in facts.tried)
    return (params.mends or not facts.tried) and (params.is_opset_free or not upgraded)


QUANTIZE = Stage(
    name="quantize",
    version=8,
    params=QuantizeParams,
    facts=QuantizeFacts,
    run=run,
    packages=lambda _: (*MODEL, ONNXRUNTIME),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda _: False,
    unkeyed=("mends", "is_opset_free"),
    holds=_holds,
    seconds=2.0,
)
