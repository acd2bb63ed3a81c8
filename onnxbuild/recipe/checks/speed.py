"""Benchmark and the gates on speed, latency and memory against inputs, providers and variants; reads no file."""

from __future__ import annotations

from collections.abc import Sequence

from onnxbuild.base.diagnostics import did_you_mean
from onnxbuild.recipe.build_speed import first_dim
from onnxbuild.recipe.draft import Draft
from onnxbuild.recipe.node import Path
from onnxbuild.recipe.types import Target


def check_batches(draft: Draft, target: Target) -> None:
    """Note every batch size that the model does not take."""
    if target.benchmark is not None and draft.has("benchmark", "batch"):
        for index, batch in enumerate(target.benchmark.batch):
            _check_batch(draft, target, batch, ("benchmark", "batch", index))
    if target.speed is not None:
        _check_batch(draft, target, target.speed.batch, ("gates", "speed", "batch"))
    if target.latency:
        _check_batch(draft, target, target.latency[0].batch, ("gates", "latency", "batch"))


def check_gate_providers(draft: Draft, target: Target) -> None:
    """Note every gate on a provider that the target is not proved on."""
    named = {"latency": target.latency[0].provider} if target.latency else {}
    named |= {"speed": target.speed.provider} if target.speed is not None else {}
    named |= {"memory": target.memory.provider} if target.memory is not None else {}
    known = [provider.name for provider in target.providers]
    for gate, provider in named.items():
        if provider not in known:
            message = f"`gates.{gate}` is on '{provider}', on which the target is not proved"
            hint = did_you_mean(provider, known) or f"the target's providers: {', '.join(known)}"
            draft.error("unknown-provider", message, draft.value("gates", gate, "provider"), "gates", hint=hint)


def check_references(draft: Draft, target: Target, variants: Sequence[str]) -> None:
    """Note every ratio to a variant that the recipe does not have."""
    named: list[tuple[str | None, Path]] = []
    if target.size is not None:
        named.append((target.size.of, ("gates", "size", "at_most")))
    if target.speed is not None:
        named.append((target.speed.bound.of, ("gates", "speed", "at_least")))
    for of, path in named:
        if of is not None and of not in variants:
            hint = did_you_mean(of, variants) or f"the variants are {', '.join(variants)}"
            draft.error("unknown-variant", f"there is no variant '{of}'", draft.value(*path), "gates", hint=hint)


def _check_batch(draft: Draft, target: Target, batch: int, path: Path) -> None:
    if not draft.has(*path):
        return
    first = first_dim(target.inputs)
    message = None
    if isinstance(first, str):
        axis = target.dynamic_axes[first]
        if not axis.min <= batch <= axis.max or batch % axis.multiple_of:
            steps = f" in steps of {axis.multiple_of}" if axis.multiple_of > 1 else ""
            message = f"a batch of {batch} is outside the axis '{first}', {axis.min} to {axis.max}{steps}"
    elif batch != (first or 1):
        fixed = "they have no batch" if first is None else f"their first dimension is {first}"
        message = f"a batch of {batch} does not fit the inputs: {fixed}"
    if message is not None:
        draft.error("wrong-value", message, draft.value(*path), str(path[0]))
