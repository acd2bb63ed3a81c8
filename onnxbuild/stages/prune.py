"""The prune stage: weights become zero, by magnitude, threshold or n:m."""

from __future__ import annotations

import msgspec

from onnxbuild.ir.facts import ModelFacts
from onnxbuild.recipe.types import Pruning
from onnxbuild.stages.packages import MODEL, ONNXRUNTIME, PRELOAD
from onnxbuild.stages.stage import Stage, Workspace


class PruneParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of prune. Input: `model`."""

    pruning: Pruning


class PrunedTensor(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor that was considered: elements, and zeros before and after."""

    name: str
    node: str
    elements: int
    zeros_before: int
    zeros: int


class PruneFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was pruned. Output: `model`."""

    model: ModelFacts
    tensors: tuple[PrunedTensor, ...]


def run(params: PruneParams, ws: Workspace) -> PruneFacts:
    """Prune the model's weights; a model without prunable weights is delivered as it is, with a warning."""
    from onnxbuild.ir.invariants import free_invariants
    from onnxbuild.ir.model import read_model
    from onnxbuild.ir.pruning import prune
    from onnxbuild.stages import delivery

    source = ws.inputs["model"]
    model = read_model(source)
    free_invariants(model)
    pruned = prune(model, params.pruning)
    if all(tensor.zeros == tensor.zeros_before for tensor in pruned):
        reason = "no element was to become zero" if pruned else "no MatMul, Gemm or Conv has constant float weights"
        ws.warn("no-effect", f"pruning changed nothing: {reason}")
        folder = source
    else:
        folder = delivery.write_candidate(model, source, ws, "pruning")
    facts = delivery.deliver(folder, ws)
    tensors = tuple(
        PrunedTensor(name=t.name, node=t.node, elements=t.elements, zeros_before=t.zeros_before, zeros=t.zeros)
        for t in pruned
    )
    return PruneFacts(model=facts, tensors=tensors)


PRUNE = Stage(
    name="prune",
    version=6,
    params=PruneParams,
    facts=PruneFacts,
    run=run,
    packages=lambda _: (*MODEL, ONNXRUNTIME),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda _: False,
)
