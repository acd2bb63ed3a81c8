"""Entries of `passes` against the tables of the tools' own names, and what a portable package allows; reads no file."""

from __future__ import annotations

from onnxbuild.base.diagnostics import did_you_mean
from onnxbuild.recipe.draft import Draft
from onnxbuild.recipe.known import ONNXOPTIMIZER_PASSES, TRANSFORMER_MODEL_TYPES
from onnxbuild.recipe.types import OnnxoptimizerPass, OnnxruntimePass, Target, TransformersPass


def check_passes(draft: Draft, target: Target) -> None:
    """Note names that no tool has, and settings that contradict each other."""
    for index, step in enumerate(target.passes):
        match step:
            case OnnxoptimizerPass(names=names) if names is not None:
                _check_names(draft, index, names)
            case OnnxruntimePass(level=level) if level != "basic" and target.package.portable:
                message = f"onnxruntime: {level} ties the model to the machine, and the package is to be portable"
                place, hint = (
                    draft.value("passes", index, "onnxruntime"),
                    "onnxruntime: basic, or `package: {portable: false}`",
                )
                draft.error("not-portable", message, place, "passes", hint=hint)
            case TransformersPass():
                _check_transformers(draft, index, step)
            case _:
                pass


def _check_names(draft: Draft, index: int, names: tuple[str, ...]) -> None:
    if not names:
        place = draft.value("passes", index, "onnxoptimizer")
        draft.error("wrong-value", "onnxoptimizer is given no passes", place, "passes", hint="onnxoptimizer: default")
    for position, name in enumerate(names):
        if name not in ONNXOPTIMIZER_PASSES:
            place = draft.value("passes", index, "onnxoptimizer", position)
            hint = did_you_mean(name, ONNXOPTIMIZER_PASSES)
            draft.error("unknown-pass", f"onnxoptimizer has no pass '{name}'", place, "passes", hint=hint)


def _check_transformers(draft: Draft, index: int, step: TransformersPass) -> None:
    if step.model_type not in TRANSFORMER_MODEL_TYPES:
        place = draft.value("passes", index, "transformers", "model_type")
        hint = did_you_mean(step.model_type, TRANSFORMER_MODEL_TYPES) or f"one of {', '.join(TRANSFORMER_MODEL_TYPES)}"
        message = f"ONNX Runtime knows no model type '{step.model_type}'"
        draft.error("unknown-model-type", message, place, "passes", hint=hint)
    if step.num_heads and step.hidden_size and step.hidden_size % step.num_heads:
        place = draft.value("passes", index, "transformers", "hidden_size")
        message = f"hidden_size {step.hidden_size} is no multiple of num_heads {step.num_heads}"
        draft.error("wrong-value", message, place, "passes")
    if bool(step.num_heads) != bool(step.hidden_size):
        written, other = ("num_heads", "hidden_size") if step.num_heads else ("hidden_size", "num_heads")
        place = draft.key("passes", index, "transformers", written)
        draft.error("missing-key", f"`{written}` needs `{other}` beside it", place, "passes", hint=f"add `{other}`")
