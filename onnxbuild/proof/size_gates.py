"""Measurements at the edges of dynamic axes against the tolerance: each size must hold it too; values only.

Elementwise measures (atol, rtol, max_abs; equality of integers and strings) must hold at every size. Statistical ones
(mean_abs, cosine, sqnr_db, argmax_agreement, all with a `share`) speak of many samples, where an edge may have one: a
size fails them on what is beyond doubt, which is a crash, a wrong shape, or NaN and infinity where the source has a
number. The exact model, before steps that change numbers by design, must at every size be as near to the source as
`NEAR` says where the recipe has no elementwise limit, provided that it is on the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from onnxbuild.data.edge import Edge, blame
from onnxbuild.proof.gates import GateResult, Verdict, judge_outputs
from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.proof.sizes import SizedOutput, SizeMeasures
from onnxbuild.recipe.types import OutputTolerance

NEAR = OutputTolerance(atol=1e-4, rtol=1e-3)
"""What the exact model may differ from its source at a size where the recipe has no elementwise limit."""
AS_THE_SOURCE = "as the source at every size"


@dataclass(frozen=True)
class _Miss:
    """One output that is wrong at one edge; `gate` is that size's own failed one, None where it is no limit's."""

    output: str
    edge: Edge
    text: str = ""
    gate: GateResult | None = None


def judge_sizes(
    gates: Sequence[GateResult],
    tolerance: Mapping[str, OutputTolerance],
    sizes: Sequence[SizeMeasures],
    provider: str | None,
) -> list[GateResult]:
    """Return `gates` of the data, those failed that do not hold at some size of the delivered model too."""
    limits = {name: elementwise(limit) for name, limit in tolerance.items()}
    return _fold(gates, list(_misses(limits, sizes)), sizes, provider, "")


def judge_exact_sizes(
    gates: Sequence[GateResult],
    tolerance: Mapping[str, OutputTolerance],
    on_data: Sequence[OutputMeasures],
    sizes: Sequence[SizeMeasures],
    provider: str | None,
    *,
    delivered: bool,
) -> list[GateResult]:
    """Return `gates`, those failed whose output the exact model (before pruning and quantisation) misses at a size.

    Where that is the `delivered` model, `judge_sizes` has looked at all but what has no elementwise limit.
    """
    limits = {}
    for measures in on_data:
        own = elementwise(tolerance.get(measures.name, OutputTolerance()))
        if delivered and own != OutputTolerance():
            continue
        limit = NEAR if own == OutputTolerance() else own
        held = judge_outputs({measures.name: limit}, [measures], provider)
        limits[measures.name] = OutputTolerance() if any(g.verdict is Verdict.FAILED for g in held) else limit
    misses = [_told_in_words(miss) for miss in _misses(limits, sizes) if miss.gate is not None or not delivered]
    return _fold(gates, misses, sizes, provider, "" if delivered else "before quantisation or pruning, ")


def unverified_sizes(gates: Sequence[GateResult], axes: Iterable[str]) -> list[GateResult]:
    """Return `gates` where no size of `axes` could be tried but those of the data: nothing passes for all sizes."""
    reason = f"no size of {' and '.join(axes)} was tried but those of the data"
    return [
        msgspec.structs.replace(gate, measured=None, margin=None, verdict=Verdict.UNVERIFIED, reason=reason)
        if gate.verdict is Verdict.PASSED and gate.gate != "tolerance.metric"
        else gate
        for gate in gates
    ]


def elementwise(limit: OutputTolerance) -> OutputTolerance:
    """Return the part of a tolerance that holds for each element alone, and so at any size."""
    if limit.share < 1:
        return OutputTolerance()
    return OutputTolerance(atol=limit.atol, rtol=limit.rtol, max_abs=limit.max_abs)


def _told_in_words(miss: _Miss) -> _Miss:
    """Return a miss whose gate stands for itself no more: its limit is not the one that the recipe wrote."""
    if miss.gate is None:
        return miss
    text = f"{miss.gate.gate.rsplit('.', maxsplit=1)[-1]} {miss.gate.measured} where {miss.gate.limit} is allowed"
    return _Miss(miss.output, miss.edge, text)


def _misses(limits: Mapping[str, OutputTolerance], sizes: Sequence[SizeMeasures]) -> Iterator[_Miss]:
    for size in sizes:
        if size.failure is not None:
            yield _Miss("", size.edge, f"the model does not run: {size.failure}")
        for output in size.outputs:
            if output.measures is None:
                text = f"shape {list(output.shape)} where the source gives {list(output.expected)}"
                yield _Miss(output.name, size.edge, text)
                continue
            if output.misdeclared is not None:
                yield _Miss(output.name, size.edge, output.misdeclared)
            failed = list(_beyond(limits.get(output.name, OutputTolerance()), output))
            yield from (_Miss(output.name, size.edge, gate=gate) for gate in failed)
            if output.nonfinite and not failed:
                text = f"{output.nonfinite} elements are NaN or infinite where the source's are numbers"
                yield _Miss(output.name, size.edge, text)


def _beyond(limit: OutputTolerance, output: SizedOutput) -> list[GateResult]:
    assert output.measures is not None
    judged = judge_outputs({output.name: limit}, [output.measures], None)
    return [gate for gate in judged if gate.verdict is Verdict.FAILED]


def _fold(
    gates: Sequence[GateResult],
    misses: Sequence[_Miss],
    sizes: Sequence[SizeMeasures],
    provider: str | None,
    prefix: str,
) -> list[GateResult]:
    """Return the gates with each miss put to the one it belongs to: its own, else its output's first, else a new."""
    folded = {gate.gate: gate for gate in gates}
    found: dict[str, list[_Miss]] = {}
    for miss in misses:
        output = miss.output or _first_output(sizes, folded)
        name = (
            miss.gate.gate
            if miss.gate is not None
            else next((name for name in folded if name.startswith(f"tolerance.{output}.")), f"tolerance.{output}.shape")
        )
        found.setdefault(name, []).append(miss)
    sound = [size.edge for size in sizes if size.edge not in [miss.edge for miss in misses] and size.outputs]
    for name, missed in found.items():
        gate = folded.get(name) or GateResult(
            gate=name, provider=provider, limit=AS_THE_SOURCE, measured=None, verdict=Verdict.FAILED
        )
        folded[name] = _failed(gate, missed, sound, prefix)
    return list(folded.values())


def _first_output(sizes: Sequence[SizeMeasures], gates: Mapping[str, GateResult]) -> str:
    """Return the output that a crash is told of, which concerns all: the first one with a gate, else the first."""
    names = [output.name for size in sizes for output in size.outputs]
    limited = [name.removeprefix("tolerance.").rpartition(".")[0] for name in gates if name.count(".") > 1]
    return next(iter([*limited, *names]), "output")


def _failed(gate: GateResult, missed: Sequence[_Miss], sound: Sequence[Edge], prefix: str) -> GateResult:
    """Return the gate failed by its worst miss, naming the sizes; on the data it may have passed."""
    worst = min(missed, key=lambda miss: _margin(miss.gate))
    where = "at " + " and at ".join(dict.fromkeys(blame(miss.edge, sound) for miss in missed))
    reason = prefix + where + (f": {worst.text}" if worst.text else "")
    if gate.verdict is Verdict.FAILED and gate.limit != AS_THE_SOURCE:
        return msgspec.structs.replace(gate, reason="; ".join(filter(None, (gate.reason, reason))))
    if worst.gate is None:
        return msgspec.structs.replace(gate, verdict=Verdict.FAILED, margin=None, reason=reason)
    return msgspec.structs.replace(
        gate, verdict=Verdict.FAILED, measured=worst.gate.measured, margin=worst.gate.margin, reason=reason
    )


def _margin(gate: GateResult | None) -> float:
    return float("-inf") if gate is None or gate.margin is None else gate.margin
