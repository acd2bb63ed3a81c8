"""The auto stage: quantise in several ways, measure each, deliver the best that meets the tolerance; float32 is one.

The candidates are no actions of their own: one that a tool cannot make, or that misses the tolerance, is a result here
and no failure of the make.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from onnxbuild.base.codec import encode
from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.units import format_size
from onnxbuild.ir.facts import ModelFacts
from onnxbuild.recipe.types import Choice, Quantization
from onnxbuild.stages.packages import MODEL, ONNXRUNTIME, PRELOAD
from onnxbuild.stages.proving import (
    Proof,
    Prover,
    Score,
    distributions,
    looks_for_devices,
    runs_user_code,
    score_of,
)
from onnxbuild.stages.quantize import Rung
from onnxbuild.stages.repair import CHOICE
from onnxbuild.stages.stage import Stage, Workspace

if TYPE_CHECKING:
    from onnxbuild.ort.latency import Latency
    from onnxbuild.proof.ablation import Measured

ALONE = 1 << 16
"""More threads than any -j: what runs beside a measurement spoils it."""
CALLS = 8
"""Evaluation calls that latency is measured on, at most."""


class AutoParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of auto. `proofs` are by provider, and latency counts on `provider`; `generated`: on random data.

    Inputs: `model` (in float), `calibration` (where a candidate needs it), `calls`, `reference`, `labels`, `edges` and
    `edges_reference` (if any); file `metric` if custom. `mends` and `is_opset_free` are those of quantize.
    """

    candidates: tuple[Quantization, ...]
    objective: str
    provider: str
    proofs: dict[str, Proof]
    generated: bool = False
    mends: bool = False
    is_opset_free: bool = False


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds a call: quartiles of so many samples, taken in turn with the other candidates'."""

    median: float
    lower: float
    upper: float
    samples: int


class CandidateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate, by its mode ("none" is float32): what was measured of it, and why it was dropped if it was."""

    mode: str
    score: Score | None = None
    timing: Timing | None = None
    dropped: str | None = None
    tried: tuple[Rung, ...] = ()


class AutoFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen, among what. Outputs: `model`, and `choice` (choice.json: a recipe.types.Choice).

    `candidates` are in the recipe's order, float32 first; with a `locked` choice that held they are those that were
    needed to see that it holds. `quantized` and `kept` count the winner's nodes by operator type.
    """

    model: ModelFacts
    choice: Choice
    objective: str
    provider: str
    candidates: tuple[CandidateFacts, ...]
    quantized: dict[str, int] = {}
    kept: dict[str, int] = {}
    locked: Choice | None = None
    from_lock: bool = False


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that was quantised and measured."""

    folder: Path
    measured: Measured
    quantized: dict[str, int] = {}
    kept: dict[str, int] = {}
    tried: tuple[Rung, ...] = ()


def run(params: AutoParams, ws: Workspace) -> AutoFacts:
    """Deliver the candidate that the lock names where it meets the tolerance, else the best of all."""
    search = _Search(params, ws)
    locked = ws.locked.winner if ws.locked is not None else None
    if locked is not None and search.holds(locked):
        return _deliver(search, locked, {}, from_lock=True)
    return _deliver(search, *search.choose(), from_lock=False)


class _Search:
    """The candidates of one model as they are made and measured."""

    def __init__(self, params: AutoParams, ws: Workspace) -> None:
        from onnxbuild.data.calls import read_calls
        from onnxbuild.proof.choosing import FLOAT

        self.params, self.ws, self.float32 = params, ws, FLOAT
        self.prover = Prover(params.proofs, ws, generated=params.generated, exact=True)
        self.calls = read_calls(ws.inputs["calibration"]) if "calibration" in ws.inputs else None
        self.wanted = {candidate.mode: candidate for candidate in params.candidates}
        self.made: dict[str, _Made] = {}
        self.dropped: dict[str, str] = {}

    def holds(self, mode: str) -> bool:
        """Make and measure one candidate; say whether it is still one and meets the tolerance."""
        if mode not in (self.float32, *self.wanted):
            return False
        self._make(mode)
        return mode in self.made and self.made[mode].measured.meets

    def choose(self) -> tuple[str, dict[str, Latency]]:
        """Make and measure all; return the winner and the latencies."""
        from onnxbuild.data.calls import read_calls
        from onnxbuild.ir.model import MODEL as FILE
        from onnxbuild.ort.latency import measure_latency
        from onnxbuild.proof.choosing import FLOAT, Option, choose

        for mode in (FLOAT, *self.wanted):
            self._make(mode)
        calls = read_calls(self.ws.inputs["calls"])
        sample = [calls[number] for number in range(min(len(calls), CALLS))]
        self.ws.tell("measuring latency")
        on = self.params.proofs[self.params.provider].measuring
        files = {mode: made.folder / FILE for mode, made in self.made.items()}
        latencies = measure_latency(files, sample, on.session, on.provider, on.options)
        options = {
            mode: Option(made.measured, latencies[mode].lower, latencies[mode].median)
            for mode, made in self.made.items()
        }
        winner = choose(options, self.params.objective)
        if not options[FLOAT].measured.meets:
            self.ws.warn("no-candidate", f"not even float32 meets the tolerance: {options[FLOAT].measured.gate}")
        elif winner == FLOAT:
            self.ws.warn("float32-wins", why_float(self.params.objective))
        return winner, latencies

    def _make(self, mode: str) -> None:
        """Quantise and measure one candidate, unless that was done; what fails is dropped with the reason."""
        if mode in self.made or mode in self.dropped:
            return
        self.ws.tell(f"candidate {mode}")
        try:
            made = self._quantize(mode)
        except StageFailure as failure:
            self.dropped[mode] = failure.message
            return
        self.made[mode] = made
        if not made.measured.meets:
            self.dropped[mode] = f"misses the tolerance: {made.measured.gate}"

    def _quantize(self, mode: str) -> _Made:
        from onnxbuild.stages.mending import Ladder
        from onnxbuild.stages.quantizing import quantize_model

        source, scratch = self.ws.inputs["model"], self.ws.scratch / f"candidate-{mode}"
        wanted = self.wanted.get(mode)
        if wanted is None:
            return _Made(folder=source, measured=self.prover.measure(source))
        tried: tuple[Rung, ...] = ()
        if self.params.mends:
            mended = Ladder(source, self.calls, scratch, is_opset_free=self.params.is_opset_free).quantize(wanted)
            result, tried = mended.quantized, mended.tried
        else:
            result = quantize_model(source, wanted, (), self.calls, scratch)
        if not result.quantized:
            raise StageFailure("no-effect", result.warnings[-1].message)
        measured = self.prover.measure(result.folder)
        return _Made(folder=result.folder, measured=measured, quantized=result.quantized, kept=result.kept, tried=tried)


def why_float(objective: str) -> str:
    """Return in words that no candidate is better than the model as it is."""
    what = {
        "latency": "no candidate that meets the tolerance is faster on this machine beyond the noise",
        "size": "no candidate that meets the tolerance is smaller",
        "accuracy": "no candidate comes closer to the source",
    }[objective]
    return f"float32 wins: {what}"


def _deliver(search: _Search, winner: str, latencies: dict[str, Latency], *, from_lock: bool) -> AutoFacts:
    from onnxbuild.stages import delivery

    made, choice = search.made[winner], Choice(winner=winner)
    (search.ws.output("choice") / CHOICE).write_bytes(encode(choice))
    return AutoFacts(
        model=delivery.deliver(made.folder, search.ws),
        choice=choice,
        objective=search.params.objective,
        provider=search.params.provider,
        candidates=tuple(_candidates(search, latencies)),
        quantized=made.quantized,
        kept=made.kept,
        locked=search.ws.locked,
        from_lock=from_lock,
    )


def _candidates(search: _Search, latencies: dict[str, Latency]) -> Iterator[CandidateFacts]:
    from onnxbuild.proof.choosing import FLOAT

    for mode in (FLOAT, *search.wanted):
        made, latency = search.made.get(mode), latencies.get(mode)
        if made is None and mode not in search.dropped:
            continue
        yield CandidateFacts(
            mode=mode,
            score=score_of(made.measured) if made is not None else None,
            timing=_timing(latency) if latency is not None else None,
            dropped=search.dropped.get(mode),
            tried=made.tried if made is not None else (),
        )


def _timing(latency: Latency) -> Timing:
    return Timing(
        median=round(latency.median, 6),
        lower=round(latency.lower, 6),
        upper=round(latency.upper, 6),
        samples=latency.samples,
    )


def describe_winner(facts: AutoFacts) -> str:
    """Return in one line what was chosen."""
    by = {"latency": "the fastest", "size": "the smallest", "accuracy": "the closest to the source"}[facts.objective]
    if facts.from_lock:
        return f"{name_of(facts.choice.winner)}, as the lock has it"
    if facts.choice.winner == "none":
        return why_float(facts.objective)
    return f"{name_of(facts.choice.winner)}, {by} that meets the tolerance ({format_size(facts.model.bytes)})"


def name_of(mode: str | None) -> str:
    """Return what people call a candidate."""
    return "float32" if mode in ("none", None) else f"{mode} int8" if mode in ("dynamic", "static") else str(mode)


AUTO = Stage(
    name="auto",
    version=8,
    params=AutoParams,
    facts=AutoFacts,
    run=run,
    packages=lambda params: tuple({*MODEL, ONNXRUNTIME, *distributions(params.proofs)}),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda params: runs_user_code(params.proofs),
    honours=lambda choice, facts: choice in (facts.choice, facts.locked),
    hardware=lambda _: True,
    devices=lambda params: looks_for_devices(params.proofs),
    threads=lambda params, told: ALONE,
    cores=lambda params: params.objective == "latency",
    seconds=15.0,
)
