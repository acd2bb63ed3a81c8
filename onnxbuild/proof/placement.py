"""The placement gate: how many nodes a provider was to get and got; a provider that is not there proves nothing."""

from __future__ import annotations

import msgspec

from onnxbuild.proof.gates import GateResult, Verdict
from onnxbuild.recipe.types import Bound, Provider

GATE = "placement"
DEFAULT = Bound(kind="at_least", value=1, text="at least 1 node")
CPU = "cpu"


def judge_placement(provider: Provider, absent: str | None, got: int, nodes: int) -> list[GateResult]:
    """Judge how many of `nodes` the provider got; `absent` says why there is no such provider here.

    `measured` is the share. The CPU takes whatever is left, so it has this gate only where the recipe says
    `min_nodes` or `required`.
    """
    if provider.name == CPU and provider.min_nodes is None and not provider.required:
        return []
    limit = provider.min_nodes or DEFAULT
    gate = GateResult(
        gate=GATE, provider=provider.name, limit=limit.text, measured=None, verdict=Verdict.UNVERIFIED, reason=absent
    )
    if absent is not None:
        if provider.required:
            reason = f"the recipe requires it, and there is none here: {absent}"
            return [msgspec.structs.replace(gate, verdict=Verdict.FAILED, reason=reason)]
        return [gate]
    if not nodes:
        return [msgspec.structs.replace(gate, reason="ONNX Runtime left no node to place: all of it is constant")]
    share = got / nodes
    least = limit.value * nodes if limit.of is not None else limit.value
    verdict = Verdict.PASSED if got >= least - 1e-9 * nodes else Verdict.FAILED
    reason = f"{got} of {nodes} nodes run on it"
    if limit.of is None and limit.value > nodes:
        reason += ", and there are no more once ONNX Runtime has simplified the model: a share, such as 95%, fits any"
    return [msgspec.structs.replace(gate, measured=share, margin=(got - least) / nodes, verdict=verdict, reason=reason)]
