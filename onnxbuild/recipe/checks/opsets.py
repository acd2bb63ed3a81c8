"""Opset and IR version against what the runtime loads and the steps need; reads no file.

A converter that ends earlier (tf2onnx at 18, torch's exporter below 18) is no limit here: models are converted on,
and what cannot be converted fails its stage.
"""

from __future__ import annotations

from onnxbuild.recipe.draft import Draft
from onnxbuild.recipe.known import IR_VERSIONS, OPSETS
from onnxbuild.recipe.types import Quantization, Target

PER_CHANNEL_OPSET = 13
QUANTIZE_OPSET = 11
INT4_OPSET = 21
INT4_IR = 10
BFLOAT16_OPSET = 13
LEAST_IR = 4
"""Below it every initializer is also an input of the graph, which the recipe's inputs rule out."""


def check_opset(draft: Draft, target: Target) -> None:
    """Note an opset or IR version that ONNX Runtime does not load, whichever provider runs it, or inputs rule out."""
    low, high = OPSETS
    if target.opset is not None and not low <= target.opset <= high:
        where = f"on {', '.join(provider.name for provider in target.providers)} "
        message = f"opset {target.opset} is impossible: {where}ONNX Runtime loads {low} to {high}"
        draft.error("impossible-opset", message, draft.value("opset"), "opset", hint="opset: 20")
    half = next((value.name for value in target.inputs if value.dtype == "bfloat16"), None)
    if half is not None and target.opset is not None and low <= target.opset < BFLOAT16_OPSET:
        message = (
            f"opset {target.opset} is impossible: input '{half}' is bfloat16, which needs {BFLOAT16_OPSET} or newer"
        )
        draft.error("impossible-opset", message, draft.value("opset"), "opset", hint=f"opset: {BFLOAT16_OPSET}")
    low, high = max(IR_VERSIONS[0], LEAST_IR), IR_VERSIONS[1]
    if target.ir_version is not None and not low <= target.ir_version <= high:
        message = f"IR version {target.ir_version} is impossible: {low} to {high} are possible"
        draft.error("impossible-ir-version", message, draft.value("ir_version"), "ir_version", hint="ir_version: 10")


def check_quantization(draft: Draft, target: Target) -> None:
    """Note a quantisation that the opset, the IR version or the quantiser's table of types does not allow."""
    quantization = target.quantization
    if quantization is None:
        return
    if quantization.mode == "static" and (quantization.weights, quantization.activations) == ("uint8", "int8"):
        key = "activations" if draft.has("quantization", "activations") else "weights"
        message = "ONNX Runtime has no static quantisation with uint8 weights and int8 activations"
        draft.error("impossible-types", message, draft.value("quantization", key), "quantization", hint="weights: int8")
    needed, why = _least_opset(quantization)
    if target.opset is not None and target.opset < needed:
        place = draft.value("opset") if draft.has("opset") else draft.value("quantization", "mode")
        message = f"opset {target.opset} is impossible: {why} needs opset {needed} or newer"
        draft.error("impossible-opset", message, place, "opset", hint=f"opset: {needed}{_way_out(quantization)}")
    four_bit = quantization.mode == "int4" and quantization.format == "qdq"
    if four_bit and target.ir_version is not None and target.ir_version < INT4_IR:
        message = f"IR version {target.ir_version} is impossible: 4-bit tensors need {INT4_IR} or newer"
        draft.error("impossible-ir-version", message, draft.value("ir_version"), "ir_version", hint="ir_version: 10")


def _least_opset(quantization: Quantization) -> tuple[int, str]:
    match quantization:
        case Quantization(mode="static", per_channel=True):
            return PER_CHANNEL_OPSET, "per-channel quantisation"
        case Quantization(mode="static" | "dynamic" as mode):
            return QUANTIZE_OPSET, f"{mode} quantisation"
        case Quantization(mode="int4", format="qdq"):
            return INT4_OPSET, "int4 in the qdq format"
    return 0, ""


def _way_out(quantization: Quantization) -> str:
    if quantization.mode == "int4":
        return ", or `format: qoperator`"
    return ", or `per_channel: false`" if quantization.per_channel else ""
