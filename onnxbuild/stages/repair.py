"""The repair stage: where quantisation misses the tolerance, find what to keep in float that meets it."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from onnxbuild.base.codec import encode
from onnxbuild.base.diagnostics import StageFailure
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
from onnxbuild.stages.screening import Screen, fewer_samples
from onnxbuild.stages.stage import Stage, Workspace
from onnxbuild.stamp import cores

if TYPE_CHECKING:
    from onnxbuild.proof.ablation import Measured
    from onnxbuild.proof.repairing import Found
    from onnxbuild.stages.mending import Mended
    from onnxbuild.stages.restoring import Restorer

MEASUREMENTS = 160
SECONDS = 600.0
"""How many choices are measured at most, and for how long: what ends a search, and decides no verdict."""

SCREENED = 1024
"""Samples of evaluation data from which choices are measured on a part of it first; see stages.screening."""

CHOICE = "choice.json"
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class RepairParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of repair. `proofs` are by provider; `generated` says that the data is random, `is_opset_free`
    that nobody asked for the model's opset.

    Inputs: `model` (in float), `quantized` (as the recipe asks), `calibration` (static), `calls`, `reference` and
    `labels` (if any), `edges` and `edges_reference` where it has dynamic axes; file `metric` if custom.
    """

    quantization: Quantization
    proofs: dict[str, Proof]
    generated: bool = False
    is_opset_free: bool = False


class TriedFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One choice and what it came to; `score` None where it could not be made."""

    choice: Choice
    layers: tuple[str, ...]
    score: Score | None


class RepairFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. Outputs: `model`, and `choice` (choice.json: a recipe.types.Choice).

    `changed` is False where the quantised model met the tolerance, or nothing better was found. `layers` stay in
    float, `before` and `after` are the scores without and with `choice`. `locked` is what the lock asked to try first.
    """

    model: ModelFacts
    changed: bool
    choice: Choice = Choice()
    layers: tuple[str, ...] = ()
    before: Score
    after: Score
    tried: tuple[TriedFacts, ...] = ()
    stopped: str | None = None
    locked: Choice | None = None
    screened: int | None = None

    def summary(self) -> str:
        """Return in one line what was found and what that comes to."""
        return f"{self.after.gate} with {describe_choice(self.choice, self.layers)}"


def describe_choice(choice: Choice, layers: tuple[str, ...]) -> str:
    """Return a choice as people read it, such as "calibrate entropy; 2 layers in float: fc1, fc2"."""
    settings = {name: value for name in choice.__struct_fields__ if (value := getattr(choice, name)) not in (None, ())}
    keep = settings.pop("keep", ())
    parts = [f"{name} {_shown(value)}" for name, value in settings.items()]
    if keep:
        names = layers or keep
        count = f"{len(names)} layer{'s' if len(names) > 1 else ''}"
        parts.append(f"{count} in float: {', '.join(names[:8])}" + (", …" if len(names) > 8 else ""))
    return "; ".join(parts) or "the recipe's settings"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def run(params: RepairParams, ws: Workspace) -> RepairFacts:
    """Deliver the quantised model as it is where it meets the tolerance, else the best that a search finds."""
    from onnxbuild.data.calls import read_calls
    from onnxbuild.proof.repairing import Found, Search, Tried
    from onnxbuild.stages.mending import Ladder
    from onnxbuild.stages.restoring import Restorer

    prover = Prover(params.proofs, ws, generated=params.generated, exact=True)
    base = _as_it_is(prover, ws.inputs["quantized"])
    if base.meets and ws.locked is None:
        unchanged = Tried(choice=Choice(), layers=(), measured=base)
        return _deliver(Found(best=unchanged, tried=(unchanged,)), base, None, ws)
    calls = read_calls(ws.inputs["calibration"]) if "calibration" in ws.inputs else None
    ladder = Ladder(ws.inputs["model"], calls, ws.scratch / "mended", is_opset_free=params.is_opset_free)
    mended = ladder.quantize(params.quantization)
    restorer = Restorer(
        mended.source,
        None,
        mended.quantization,
        calls,
        ws.scratch / "repair",
        keep=mended.keep,
        skips_quantized=mended.skips_quantized,
    )
    few, samples = fewer_samples(ws, SCREENED)
    part = Prover(params.proofs, few, generated=params.generated, exact=False)
    measures: Prover | Screen = prover if few is ws else Screen(part, prover)
    began = time.monotonic()
    count = 0

    def measure(choice: Choice) -> Measured | None:
        nonlocal count
        count += 1
        ws.tell(f"{count} of at most {MEASUREMENTS} choices: {describe_choice(choice, ())}")
        return measured_draft(restorer, prover if choice == ws.locked else measures, choice)

    most = min(SECONDS, ws.seconds / 2)
    search = Search(restorer.layers(), measure, MEASUREMENTS, lambda: time.monotonic() - began > most)
    # A part of the data can be easier than the whole: what choices are compared with is measured on the same part.
    start = base if few is ws else msgspec.structs.replace(_as_it_is(part, ws.inputs["quantized"]), meets=base.meets)
    found = search.run(start, switches(mended.quantization), ws.locked)
    if few is ws:
        return _deliver(found, base, mended, ws)
    facts = _deliver(_on_all(found, base, restorer, prover), base, mended, ws)
    return msgspec.structs.replace(facts, screened=samples)


def _on_all(found: Found, base: Measured, restorer: Restorer, prover: Prover) -> Found:
    """Return what was found with the best measured on all of the data; of two that miss there, what the recipe asks."""
    from onnxbuild.proof.repairing import Tried

    best = found.best
    if best.measured is not None and best.measured.meets:
        return found
    whole = base if best.choice == Choice() else measured_draft(restorer, prover, best.choice)
    if whole is None or whole.order() >= base.order():
        best, whole = Tried(choice=Choice(), layers=(), measured=base), base
    return msgspec.structs.replace(found, best=msgspec.structs.replace(best, measured=whole))


def _as_it_is(prover: Prover, folder: Path) -> Measured:
    """Measure the quantised model; one that does not run, as quantisers may leave it, has missed everything."""
    from onnxbuild.proof.ablation import Measured

    try:
        return prover.measure(folder)
    except StageFailure as failure:
        if failure.code not in ("model-does-not-load", "model-does-not-run"):
            raise
        size = sum(file.stat().st_size for file in folder.iterdir())
        return Measured(use=math.inf, sqnr_db=-math.inf, meets=False, gate=failure.message, bytes=size)


def measured_draft(restorer: Restorer, prover: Prover | Screen, choice: Choice) -> Measured | None:
    """Make and measure a choice; None where a tool refuses it or the model does not run."""
    try:
        return measure_draft(restorer, prover, choice)
    except StageFailure:
        return None


def measure_draft(restorer: Restorer, prover: Prover | Screen, choice: Choice) -> Measured:
    """Make and measure a choice; raises StageFailure where a tool refuses it or the model does not run."""
    folder = restorer.draft(choice)
    try:
        return prover.measure(folder)
    finally:
        restorer.discard(folder)


def switches(quantization: Quantization) -> tuple[Choice, ...]:
    """Return the settings of the whole model that may mend it, cheapest first: none costs a layer in float."""
    match quantization.mode:
        case "static":
            found = [] if quantization.per_channel else [Choice(per_channel=True)]
            methods = [m for m in ("minmax", "percentile", "entropy") if m != quantization.calibrate]
            found += [Choice(calibrate=method) for method in methods]
            if quantization.op_types is None:
                found.append(Choice(op_types=WEIGHTED))
            return tuple(found)
        case "dynamic":
            found = [] if quantization.per_channel else [Choice(per_channel=True)]
            if quantization.op_types is None:
                found.append(Choice(op_types=("Gemm", "MatMul")))
            return tuple(found)
        case "int4":
            found = [Choice(symmetric=False)] if quantization.symmetric else []
            smaller = [size for size in (64, 32, 16) if size < quantization.block_size]
            return (*found, *(Choice(block_size=size) for size in smaller))
        case _:
            return ()


def _deliver(found: Found, base: Measured, mended: Mended | None, ws: Workspace) -> RepairFacts:
    from onnxbuild.data.calls import read_calls
    from onnxbuild.stages import delivery
    from onnxbuild.stages.quantizing import Requantizer
    from onnxbuild.stages.restoring import chosen

    best = found.best
    assert best.measured is not None
    changed = best.choice != Choice()
    folder: Path = ws.inputs["quantized"]
    if changed and mended is not None:
        calls = read_calls(ws.inputs["calibration"]) if "calibration" in ws.inputs else None
        requantizer = Requantizer(mended.source, calls, ws.scratch / "best")
        requantizer.skips_quantized = mended.skips_quantized
        keep = (*best.choice.keep, *mended.keep)
        folder = requantizer.quantize(chosen(mended.quantization, best.choice), keep).folder
    (ws.output("choice") / CHOICE).write_bytes(encode(best.choice))
    return RepairFacts(
        model=delivery.deliver(folder, ws),
        changed=changed,
        choice=best.choice,
        layers=best.layers,
        before=score_of(base),
        after=score_of(best.measured),
        tried=tuple(
            TriedFacts(
                choice=tried.choice,
                layers=tried.layers,
                score=score_of(tried.measured) if tried.measured is not None else None,
            )
            for tried in found.tried
        ),
        stopped=found.stopped,
        locked=ws.locked,
    )


REPAIR = Stage(
    name="repair",
    version=9,
    params=RepairParams,
    facts=RepairFacts,
    run=run,
    packages=lambda params: tuple({*MODEL, ONNXRUNTIME, *distributions(params.proofs)}),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda params: runs_user_code(params.proofs),
    honours=lambda choice, facts: choice in (facts.choice, facts.locked),
    hardware=lambda _: True,
    devices=lambda params: looks_for_devices(params.proofs),
    threads=lambda params, told: cores(),
    seconds=10.0,
)
