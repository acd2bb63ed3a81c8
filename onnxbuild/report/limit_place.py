"""Where in a recipe a gate's limit was written; knows gates by their names alone and reads no recipe."""

from __future__ import annotations

from collections.abc import Mapping

from onnxbuild.base.diagnostics import Place
from onnxbuild.proof.gates import GateResult


def gate_place(gate: GateResult, places: Mapping[str, Place]) -> Place | None:
    """Return where a gate's limit was written, else what it is about."""
    return limit_place(gate, places) or places.get("evaluation") or places.get("source")


def limit_place(gate: GateResult, places: Mapping[str, Place]) -> Place | None:
    """Return where a gate's limit was written: for its provider, else for all, else the nearest key around it."""
    path = gate.gate if gate.gate.startswith("tolerance.") else f"gates.{gate.gate}"
    ways = [path]
    if gate.provider is not None:
        ways = [f"providers.{gate.provider}.{path}", path]
        if gate.gate == "placement":
            ways = [f"providers.{gate.provider}.min_nodes", f"providers.{gate.provider}"]
    if gate.gate.startswith("tolerance.") and gate.gate != "tolerance.metric":
        ways = [way.replace("tolerance.", "tolerance.outputs.", 1) for way in ways]
    while any(ways):
        for way in ways:
            if way in places and way != "providers":
                return places[way]
        ways = [way.rpartition(".")[0] for way in ways]
    return None
