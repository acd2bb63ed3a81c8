"""The actions that choose by measuring, and the one that tells which layers lose: repair, auto, blame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from onnxbuild.plan.action import Ref, StageModel
from onnxbuild.plan.drafts import Drafts
from onnxbuild.plan.models import without_search
from onnxbuild.plan.target_action import target_action
from onnxbuild.plan.validations import measuring, measuring_inputs
from onnxbuild.recipe.types import Auto, RandomData, Target, Tolerance
from onnxbuild.stages.auto import AutoParams
from onnxbuild.stages.blame import BlameParams
from onnxbuild.stages.proving import Proof
from onnxbuild.stages.repair import RepairParams


@dataclass(frozen=True)
class Proofs:
    """What a search measures a target with: against what, on what, and whether that is random."""

    proofs: dict[str, Proof]
    inputs: dict[str, Ref]
    files: dict[str, str]
    generated: bool


def proofs_of(target: Target, evaluation: str, reference: str) -> Proofs:
    """Return what a search measures a target with."""
    inputs, files = measuring_inputs(target, evaluation, reference)
    proofs = {
        provider.name: Proof(measuring=measuring(target, provider.name), tolerance=_unworded(provider.tolerance))
        for provider in target.providers
    }
    generated = target.evaluation is None or isinstance(target.evaluation.data, RandomData)
    return Proofs(proofs, inputs, files, generated)


def _unworded(tolerance: Tolerance) -> Tolerance:
    if tolerance.metric is None:
        return tolerance
    return msgspec.structs.replace(tolerance, metric=msgspec.structs.replace(tolerance.metric, text=""))


def _edges(target: Target, proofs: Proofs) -> dict[str, Ref]:
    """Return the calls at the edges of dynamic axes, and the source's outputs on them."""
    if not target.dynamic_axes:
        return {}
    return {
        "edges": Ref(proofs.inputs["calls"].action, "edges"),
        "edges_reference": Ref(proofs.inputs["reference"].action, "edges"),
    }


def add_repair(
    drafts: Drafts, target: Target, models: Sequence[StageModel], calls: Mapping[str, Ref], proofs: Proofs
) -> StageModel:
    """Add the search for layers to keep in float, after quantisation."""
    assert target.quantization is not None
    inputs = {"model": models[-2].ref, "quantized": models[-1].ref, **proofs.inputs, **calls, **_edges(target, proofs)}
    params = RepairParams(
        quantization=without_search(target.quantization),
        proofs=proofs.proofs,
        generated=proofs.generated,
        is_opset_free=target.opset is None,
    )
    action = replace(target_action(target, "repair", params, inputs, proofs.files), locked=target.locked)
    return StageModel("repair", Ref(drafts.add(target, "repair", action), "model"))


def add_auto(
    drafts: Drafts, target: Target, auto: Auto, model: StageModel, calls: Mapping[str, Ref], proofs: Proofs
) -> StageModel:
    """Add the search for the best of several quantisations."""
    params = AutoParams(
        candidates=auto.candidates,
        objective=auto.objective,
        provider=auto.provider,
        proofs=proofs.proofs,
        generated=proofs.generated,
        mends=auto.repair,
        is_opset_free=auto.repair and target.opset is None,
    )
    inputs = {"model": model.ref, **proofs.inputs, **calls, **_edges(target, proofs)}
    action = replace(target_action(target, "auto", params, inputs, proofs.files), locked=target.locked)
    return StageModel("auto", Ref(drafts.add(target, "auto", action), "model"))


def add_blame(
    drafts: Drafts, target: Target, models: Sequence[StageModel], calls: Mapping[str, Ref], proofs: Proofs
) -> str | None:
    """Add what ranks the layers of a target that loses something on purpose; None for any other."""
    lossy = [number for number, model in enumerate(models) if model.label in ("prune", "quantize", "auto")]
    if not lossy:
        return None
    inputs = {
        "model": models[lossy[0] - 1].ref,
        "origins": Ref(models[0].ref.action, "origins"),
        **proofs.inputs,
        **calls,
    }
    if models[-1].label in ("repair", "auto"):
        inputs["choice"] = Ref(models[-1].ref.action, "choice")
    quantization = without_search(target.quantization) if target.quantization is not None else None
    mends = any(wanted is not None and wanted.repair for wanted in (target.quantization, target.auto))
    params = BlameParams(
        pruning=target.pruning,
        quantization=quantization,
        candidates=target.auto.candidates if target.auto is not None else (),
        proofs=proofs.proofs,
        generated=proofs.generated,
        mends=mends,
        is_opset_free=target.opset is None and mends,
    )
    return drafts.add(target, "blame", target_action(target, "blame", params, inputs, proofs.files))
