"""The actions that make a target's models, each from the one before it; knows no search and measures nothing."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from onnxbuild.plan.action import Action, Ref, StageModel
from onnxbuild.plan.drafts import Drafts
from onnxbuild.plan.target_action import in_project, keyed_source, source_files, target_action
from onnxbuild.recipe.types import CustomPass, Framework, OutputTolerance, Quantization, Recipe, Target
from onnxbuild.stages.export import ExportParams
from onnxbuild.stages.optimize import OptimizeParams
from onnxbuild.stages.prune import PruneParams
from onnxbuild.stages.quantize import QuantizeParams


def add_models(
    drafts: Drafts, target: Target, limits: dict[str, OutputTolerance], probe: str, calls: Mapping[str, Ref]
) -> tuple[StageModel, ...]:
    """Add what exports the model, the passes, pruning and quantisation; a search comes after them."""
    stage = "canonicalize" if target.source.framework is Framework.ONNX else "export"
    export = drafts.add(target, stage, _export(target, stage))
    models = [StageModel(stage, Ref(export, "model"))]

    def step(label: str, stage: str, params: msgspec.Struct, **extra: Ref) -> None:
        files = {}
        if isinstance(params, OptimizeParams) and isinstance(params.step, CustomPass):
            files["custom"] = in_project(target, params.step.function.file)
        action = target_action(target, stage, params, {"model": models[-1].ref, **extra}, files)
        models.append(StageModel(label, Ref(drafts.add(target, label, action), "model")))

    for number, entry in enumerate(target.passes, start=1):
        label = "optimize" if len(target.passes) == 1 else f"optimize.{number}"
        params = OptimizeParams(
            step=entry, opset=target.opset, ir_version=target.ir_version, limits=limits, guard=target.guard
        )
        step(label, "optimize", params, probe=Ref(probe, "probe"), edges=Ref(probe, "edges"))
    if target.pruning is not None:
        step("prune", "prune", PruneParams(pruning=target.pruning))
    if target.quantization is not None:
        wanted = QuantizeParams(
            quantization=without_search(target.quantization),
            mends=target.quantization.repair,
            is_opset_free=target.quantization.repair and target.opset is None,
        )
        step("quantize", "quantize", wanted, **calls)
    return tuple(models)


def _export(target: Target, stage: str) -> Action:
    params = ExportParams(
        source=keyed_source(target.source),
        inputs=target.inputs,
        outputs=target.outputs,
        axes=target.dynamic_axes,
        opset=target.opset,
        ir_version=target.ir_version,
    )
    return target_action(target, stage, params, {}, source_files(target))


def without_search(quantization: Quantization) -> Quantization:
    """Return what a quantiser is told, whoever searches around it."""
    return msgspec.structs.replace(quantization, repair=False)


def quantizer_calls(target: Target, probe: str, calibration: str | None) -> dict[str, Ref]:
    """Return the calls that a quantiser needs: to calibrate, and for float16 to tell how large values become."""
    wanted = target.auto.candidates if target.auto is not None else ()
    modes = {one.mode for one in (*wanted, *([target.quantization] if target.quantization is not None else []))}
    if calibration is not None and not modes.isdisjoint(("static", "float16")):
        return {"calibration": Ref(calibration, "inputs")}
    return {"calibration": Ref(probe, "probe")} if "float16" in modes else {}


def step_limits(recipe: Recipe) -> dict[str, OutputTolerance]:
    """Return a tenth of the tightest tolerance that any variant names for an output; see proof.limits.step_limit.

    One answer for the recipe, so that variants share the passes they have in common.
    """
    limits = {}
    for output in {output.name: None for target in recipe.targets for output in target.outputs}:
        named = [
            tolerance
            for target in recipe.targets
            if (tolerance := target.tolerance.outputs.get(output)) is not None
            and not (tolerance.atol is None and tolerance.rtol is None)
        ]
        if named:
            limits[output] = OutputTolerance(
                atol=min(tolerance.atol or 0.0 for tolerance in named) / 10,
                rtol=min(tolerance.rtol or 0.0 for tolerance in named) / 10,
            )
    return limits
