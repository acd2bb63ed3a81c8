"""The prune stage: weights become zero, by magnitude, threshold or n:m."""

from __future__ import annotations

import msgspec

from onnxbuild.ir.facts import ModelFacts
from onnxbuild.recipe.types import Pruning


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
