"""The blame stage: which layers a missed tolerance is due to, by restoring them one at a time and measuring."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from onnxbuild.base.codec import decode
from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.facts import Origin
from onnxbuild.proof.measures import to_text
from onnxbuild.recipe.types import Choice, Pruning, Quantization, Session
from onnxbuild.stages.export import ORIGINS
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
from onnxbuild.stages.screening import fewer_samples
from onnxbuild.stages.stage import Stage, Workspace
from onnxbuild.stamp import cores

if TYPE_CHECKING:
    from onnxbuild.data.calls import Calls
    from onnxbuild.proof.ablation import Measured, Ranked
    from onnxbuild.stages.restoring import Restorer

MEASUREMENTS = 96
SECONDS = 600.0
"""How many restorings are measured at most, and for how long; what is left then stays in groups."""

TIMED = 5
"""Culprits whose cost in time is measured."""


ROUNDS = 6
"""Timed calls of each of two models, of which the first warms up."""


class BlameParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of blame. `proofs` are by provider; `generated` says that the data is random, `mends` and
    `is_opset_free` are quantize's, and `candidates` are auto's, instead of a `quantization`.

    Inputs: `model` (in float, before pruning), `origins`, `choice` (of repair or auto, if any), `calibration` (static),
    `calls`, `reference` and `labels` (if any); file `metric` if custom.
    """

    pruning: Pruning | None
    quantization: Quantization | None
    candidates: tuple[Quantization, ...] = ()
    proofs: dict[str, Proof]
    generated: bool = False
    mends: bool = False
    is_opset_free: bool = False


class Culprit(msgspec.Struct, frozen=True, kw_only=True):
    """A layer, or a group that was not split, and what restoring it alone comes to.

    `gain` is by how much less of the tolerance is used; `bytes` what the model grows by; `time` the ratio of medians of
    a few calls, restored to not, None where it was not measured. `module`, `file` and `line` are the source's.
    """

    layers: tuple[str, ...]
    nodes: tuple[str, ...]
    module: str | None = None
    file: str | None = None
    line: int | None = None
    score: Score
    gain: float | str
    bytes: int
    time: float | None = None


class BlameFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The ranking; no artifact. `base` is the model as delivered, on `samples` taken from all over the evaluation data.

    `layers` counts all that could be restored (none where auto chose float32), `measured` how many times something was.
    """

    base: Score
    samples: int
    layers: int
    measured: int
    culprits: tuple[Culprit, ...] = ()


def run(params: BlameParams, ws: Workspace) -> BlameFacts:
    """Restore layers one at a time, or in groups that are split, and rank them by what that gains."""
    from onnxbuild.proof.ablation import rank
    from onnxbuild.stages.repair import CHOICE, measured_draft

    ws, samples = fewer_samples(ws)
    prover = Prover(params.proofs, ws, generated=params.generated, exact=False)
    choice = Choice()
    if "choice" in ws.inputs:
        choice = decode((ws.inputs["choice"] / CHOICE).read_bytes(), Choice)
    quantization = params.quantization
    if params.candidates:
        quantization = next((one for one in params.candidates if one.mode == choice.winner), None)
    if quantization is None and params.pruning is None:
        return BlameFacts(base=score_of(prover.measure(ws.inputs["model"])), samples=samples, layers=0, measured=0)
    restorer, base = _as_delivered(params, quantization, choice, prover, ws)
    layers = {name: nodes for name, nodes in restorer.layers().items() if not set(nodes) <= set(choice.keep)}
    began, count = time.monotonic(), 0

    def restored(names: Iterable[str]) -> Choice:
        return msgspec.structs.replace(choice, keep=(*choice.keep, *(n for name in names for n in layers[name])))

    def measure(names: frozenset[str]) -> Measured | None:
        nonlocal count
        if time.monotonic() - began > min(SECONDS, ws.seconds / 2):
            return None
        count += 1
        ws.tell(f"{count} of at most {MEASUREMENTS} restorings, {len(layers)} layers")
        return measured_draft(restorer, prover, restored(names))

    ranked = rank(tuple(layers), measure, MEASUREMENTS, base)
    times = _times(restorer, [choice, *(restored(entry.layers) for entry in ranked[:TIMED])], params, ws)
    origins = decode((ws.inputs["origins"] / ORIGINS).read_bytes(), dict[str, Origin])
    return BlameFacts(
        base=score_of(base),
        samples=samples,
        layers=len(layers),
        measured=count,
        culprits=tuple(
            _culprit(entry, base, layers, origins, times[number] if number < len(times) else None)
            for number, entry in enumerate(ranked)
        ),
    )


def _as_delivered(
    params: BlameParams, quantization: Quantization | None, choice: Choice, prover: Prover, ws: Workspace
) -> tuple[Restorer, Measured]:
    """Return what makes the delivered model again, and what that comes to; raises StageFailure (`cannot-restore`)."""
    from onnxbuild.data.calls import read_calls
    from onnxbuild.stages.repair import measure_draft
    from onnxbuild.stages.restoring import Restorer

    calls = read_calls(ws.inputs["calibration"]) if "calibration" in ws.inputs else None
    try:
        restorer = Restorer(ws.inputs["model"], params.pruning, quantization, calls, ws.scratch / "blame")
        return restorer, measure_draft(restorer, prover, choice)
    except StageFailure as failure:
        if quantization is None or not params.mends:
            raise _cannot_restore(failure, params, quantization) from None
    try:
        restorer = _as_mended(params, quantization, calls, ws)
        return restorer, measure_draft(restorer, prover, choice)
    except StageFailure as failure:
        raise _cannot_restore(failure, params, quantization) from None


def _cannot_restore(failure: StageFailure, params: BlameParams, quantization: Quantization | None) -> StageFailure:
    hint = failure.hint
    if quantization is not None and not params.mends:
        hint = hint or "`quantization: {repair: true}` goes on where a tool fails, and then layers can be restored"
    message = f"the model cannot be made again, so no layer can be restored in it: {failure.message}"
    return StageFailure("cannot-restore", message, hint=hint, tool=failure.tool, node=failure.node)


def _as_mended(params: BlameParams, quantization: Quantization, calls: Calls | None, ws: Workspace) -> Restorer:
    """Return what restores in a model that was quantised although a tool fails on it; see stages.mending."""
    from onnxbuild.ir.model import read_model
    from onnxbuild.stages.mending import Ladder, upgrade
    from onnxbuild.stages.restoring import Restorer, write_pruned

    source, scratch = ws.inputs["model"], ws.scratch / "mended"
    pruned = source if params.pruning is None else write_pruned(source, params.pruning, scratch / "pruned")
    ladder = Ladder(pruned, calls, scratch / "ladder", is_opset_free=params.is_opset_free)
    mended = ladder.quantize(quantization)
    if mended.source != pruned:
        opset = read_model(mended.source).opset_imports[""]
        source = mended.source if params.pruning is None else upgrade(source, opset, scratch / "upgraded", "pruning")
    keep, skips = mended.keep, mended.skips_quantized
    scratch = ws.scratch / "blame-mended"
    return Restorer(source, params.pruning, mended.quantization, calls, scratch, keep=keep, skips_quantized=skips)


def _culprit(
    ranked: Ranked,
    base: Measured,
    layers: Mapping[str, tuple[str, ...]],
    origins: Mapping[str, Origin],
    ratio: float | None,
) -> Culprit:
    nodes = tuple(node for name in ranked.layers for node in layers[name])
    origin = origin_of(ranked.layers[0], nodes, origins)
    gain = base.use - ranked.measured.use
    return Culprit(
        layers=ranked.layers,
        nodes=nodes,
        module=origin.module if origin is not None else None,
        file=origin.file if origin is not None else None,
        line=origin.line if origin is not None else None,
        score=score_of(ranked.measured),
        gain=to_text(0.0 if math.isnan(gain) else gain) or 0.0,
        bytes=ranked.measured.bytes - base.bytes,
        time=ratio,
    )


def origin_of(layer: str, nodes: Iterable[str], origins: Mapping[str, Origin]) -> Origin | None:
    """Return where the source knows a layer: by a node's name, else by module path (passes rename and fuse nodes)."""
    for node in nodes:
        if node in origins:
            return origins[node]
    module = layer.replace("/", ".")
    within = [o for o in origins.values() if o.module and (o.module == module or module.startswith(f"{o.module}."))]
    return max(within, key=lambda origin: (len(origin.module), origin.line is not None), default=None)


def _times(restorer: Restorer, choices: list[Choice], params: BlameParams, ws: Workspace) -> list[float | None]:
    """Return the time of each choice but the first as a ratio to the first's; medians of interleaved calls."""
    from onnxbuild.data.calls import read_calls
    from onnxbuild.ir.model import MODEL as FILE
    from onnxbuild.ort.session import open_session, run_call

    session = next((proof.measuring.session for proof in params.proofs.values()), Session())
    call = read_calls(ws.inputs["calls"])[0]
    ratios: list[float | None] = []
    try:
        first = open_session(restorer.draft(choices[0]) / FILE, session)
    except StageFailure:
        return []
    for choice in choices[1:]:
        try:
            other = open_session(restorer.draft(choice) / FILE, session)
            seconds: tuple[list[float], list[float]] = ([], [])
            for _ in range(ROUNDS):
                for which, opened in zip(seconds, (first, other), strict=True):
                    began = time.perf_counter()
                    run_call(opened, call)
                    which.append(time.perf_counter() - began)
            ratios.append(round(statistics.median(seconds[1][1:]) / statistics.median(seconds[0][1:]), 3))
        except StageFailure:
            ratios.append(None)
    return ratios


BLAME = Stage(
    name="blame",
    version=7,
    params=BlameParams,
    facts=BlameFacts,
    run=run,
    packages=lambda params: tuple({*MODEL, ONNXRUNTIME, *distributions(params.proofs)}),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda params: runs_user_code(params.proofs),
    hardware=lambda _: True,
    devices=lambda params: looks_for_devices(params.proofs),
    threads=lambda params, told: cores(),
    seconds=15.0,
)
