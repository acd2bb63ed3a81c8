"""Culprits in words: which layer, where in the source, what restoring it alone gains and costs; ranks nothing."""

from __future__ import annotations

import msgspec

from onnxbuild.base.units import format_size
from onnxbuild.recipe.types import Target
from onnxbuild.stages.blame import BlameFacts, Culprit
from onnxbuild.store.traces import Trace

TOP = 3
"""Culprits that are told with a failed gate."""


def top_culprits(trace: Trace) -> tuple[str, ...]:
    """Return the first few culprits that a blame trace names, each in a line."""
    facts = msgspec.json.decode(trace.facts, type=BlameFacts)
    gaining = [culprit for culprit in facts.culprits if isinstance(culprit.gain, str) or culprit.gain > 0]
    return tuple(f"{number}. {describe(culprit, facts)}" for number, culprit in enumerate(gaining[:TOP], start=1))


def what_next(target: Target, culprits: tuple[str, ...]) -> str | None:
    """Return what to do about a tolerance that was missed because of `culprits`; None without any."""
    if not culprits:
        return None
    ranking = f"`onnxbuild blame {target.name}` ranks every layer"
    if target.quantization is not None and not target.quantization.repair:
        return f"`quantization: {{repair: true}}` looks for the fewest to keep in float; {ranking}"
    if target.quantization is None and target.pruning is not None:
        return f"`exclude` under `pruning` leaves layers as they are; {ranking}"
    return ranking


def describe(culprit: Culprit, facts: BlameFacts) -> str:
    """Return what restoring a layer alone comes to: "fc2 (net.py:14): kept in float it uses 0.41x the tolerance …"."""
    where = source_of(culprit)
    name = name_of(culprit) + (f" ({where})" if where else "")
    uses = f"uses {share(culprit.score.use)} the tolerance instead of {share(facts.base.use)}"
    return f"{name}: kept in float it {uses}, for {growth(culprit)}"


def name_of(culprit: Culprit) -> str:
    """Return the layer's name, or those of a group."""
    first = culprit.layers[0]
    return first if len(culprit.layers) == 1 else f"{first} to {culprit.layers[-1]} ({len(culprit.layers)} layers)"


def source_of(culprit: Culprit) -> str:
    """Return where the source has the layer, as file:line, or its module path where no line is known."""
    if culprit.file is not None:
        return f"{culprit.file}:{culprit.line}" if culprit.line is not None else culprit.file
    return culprit.module or ""


def share(use: float | str) -> str:
    """Return how often a tolerance is used up: "0.41x", "3.2x", in words where it is not finite."""
    return f"{use:.3g}x" if isinstance(use, float | int) else "infinitely many times"


def growth(culprit: Culprit) -> str:
    """Return what keeping the layer in float costs, such as "+12 KB and 1.05x the time"."""
    sign = "+" if culprit.bytes >= 0 else "-"
    size = f"{sign}{format_size(abs(culprit.bytes))}"
    return size if culprit.time is None else f"{size} and {culprit.time:.2f}x the time"
