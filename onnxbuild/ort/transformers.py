"""ONNX Runtime's transformer fusions, by model type; knows nothing of what a recipe expects of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from onnxbuild.base.diagnostics import StageFailure, did_you_mean
from onnxbuild.base.foreign import foreign_tool
from onnxbuild.recipe.types import TransformersPass

TOOL = "onnxruntime.transformers"
DOMAIN = "com.microsoft"


def known_model_types() -> tuple[str, ...]:
    """Return the model types that the installed ONNX Runtime has fusions for."""
    from onnxruntime.transformers.optimizer import MODEL_TYPES

    return tuple(sorted(MODEL_TYPES))


def parts(model_type: str) -> tuple[str, ...]:
    """Return the fusions that run for a model type, each of which can be left out."""
    known = vars(_options(model_type))
    return tuple(name.removeprefix(_SWITCH) for name, on in known.items() if name.startswith(_SWITCH) and on)


_SWITCH = "enable_"


def _options(model_type: str) -> Any:
    from onnxruntime.transformers.fusion_options import FusionOptions

    return FusionOptions(model_type)


def optimize(file: Path, step: TransformersPass, scratch: Path, only: Sequence[str] | None = None) -> onnx.ModelProto:
    """Return the model in `file` with the fusions of `step.model_type`; fusing nothing is no error here.

    `only` names the fusions that run, None is all. Only those in Python run (level 0): the runtime's own optimisation
    is a pass of its own. Raises StageFailure (`unknown-model-type`).
    """
    known = known_model_types()
    if step.model_type not in known:
        raise StageFailure(
            "unknown-model-type",
            f"ONNX Runtime has no transformer fusions for the model type '{step.model_type}'",
            hint=did_you_mean(step.model_type, known) or f"it has {', '.join(known)}",
            tool=TOOL,
        )
    with foreign_tool(TOOL, scratch):
        from onnxruntime.transformers.optimizer import optimize_model

        result = optimize_model(
            str(file),
            model_type=step.model_type,
            num_heads=step.num_heads,
            hidden_size=step.hidden_size,
            optimization_options=_only(step.model_type, only),
            opt_level=0,
            only_onnxruntime=False,
        )
        proto: onnx.ModelProto = result.model
    if not any(entry.domain == DOMAIN for entry in proto.opset_import):
        proto.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))  # the tool adds it only when it saves
    return proto


def _only(model_type: str, only: Sequence[str] | None) -> Any:
    if only is None:
        return None
    options = _options(model_type)
    for name in parts(model_type):
        setattr(options, _SWITCH + name, name in only)
    return options
