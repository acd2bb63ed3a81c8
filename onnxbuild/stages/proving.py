"""What a model made on the way comes to against the tolerance of each provider, measured as `validate` measures."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from onnxbuild.proof.ablation import Measured
from onnxbuild.proof.budget import limited, metric_used, used
from onnxbuild.proof.gates import GateResult, Verdict, judge_metric, judge_outputs
from onnxbuild.proof.measures import from_text, to_text
from onnxbuild.proof.size_gates import elementwise, judge_sizes
from onnxbuild.recipe.types import OutputTolerance, Tolerance
from onnxbuild.stages import validate
from onnxbuild.stages.stage import Workspace
from onnxbuild.stamp import cores


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is measured on one provider, and what it must keep there."""

    measuring: validate.ValidateParams
    tolerance: Tolerance


def distributions(proofs: Mapping[str, Proof]) -> tuple[str, ...]:
    """Return the distributions that decide which of the providers load."""
    return tuple(
        dict.fromkeys(name for proof in proofs.values() for name in validate.VALIDATE.packages(proof.measuring))
    )


def looks_for_devices(proofs: Mapping[str, Proof]) -> bool:
    """Tell whether any of the providers needs a device besides the CPU."""
    return any(validate.VALIDATE.devices(proof.measuring) for proof in proofs.values())


def runs_user_code(proofs: Mapping[str, Proof]) -> bool:
    """Return whether measuring calls a metric of the user's."""
    return any(p.measuring.metric is not None and p.measuring.metric.function is not None for p in proofs.values())


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """A Measured that JSON can hold: NaN and infinities are the texts "nan", "inf" and "-inf"."""

    use: float | str
    sqnr_db: float | str
    meets: bool
    gate: str
    bytes: int


def score_of(measured: Measured) -> Score:
    """Return `measured` as facts hold it."""
    return Score(
        use=to_text(measured.use) or 0.0,
        sqnr_db=to_text(measured.sqnr_db) or 0.0,
        meets=measured.meets,
        gate=measured.gate,
        bytes=measured.bytes,
    )


class Prover:
    """Measures models on the evaluation calls of `ws` against every provider of `proofs` that is present.

    On random data (`generated`) a limit is met where it is not missed. `ws` has what validate needs but the model.
    `exact` asks that what meets the tolerance is measured once more just as the gates do.
    """

    def __init__(self, proofs: Mapping[str, Proof], ws: Workspace, *, generated: bool, exact: bool) -> None:
        self._proofs, self._ws, self._generated, self._exact = proofs, ws, generated, exact
        self._number = 0

    def measure(self, folder: Path) -> Measured:
        """Return the worst over all providers of the model in `folder`.

        All cores compute where the recipe does not say how many; exactly is as the recipe says, and at the edges of
        dynamic axes too. Raises StageFailure for a model that does not load or run.
        """
        measured = self._measure(folder, cores())
        return self._measure(folder, None) if measured.meets and self._exact else measured

    def _measure(self, folder: Path, threads: int | None) -> Measured:
        everywhere = (self._on(proof, folder, threads) for proof in self._proofs.values())
        found = [measured for measured in everywhere if measured is not None]
        size = sum(file.stat().st_size for file in folder.iterdir())
        if not found:
            return Measured(use=0.0, sqnr_db=math.inf, meets=True, bytes=size)
        worst = min(found, key=lambda measured: [-part for part in measured.order()])
        return msgspec.structs.replace(worst, meets=all(measured.meets for measured in found), bytes=size)

    def _on(self, proof: Proof, folder: Path, threads: int | None) -> Measured | None:
        """Return None where the provider is not there: what can't be measured is not searched for."""
        params = proof.measuring
        if threads is not None and params.session.intra_op_threads is None:
            session = msgspec.structs.replace(params.session, intra_op_threads=threads)
            params = msgspec.structs.replace(params, session=session)
        self._number += 1
        scratch = self._ws.scratch / f"proof-{self._number}"
        scratch.mkdir()
        inputs = {name: path for name, path in self._ws.inputs.items() if threads is None or "edges" not in name}
        ws = replace(self._ws, inputs={**inputs, "model": folder}, scratch=scratch, warnings=[])
        try:
            facts = validate.run(params, ws)
        finally:
            shutil.rmtree(scratch)  # a metric of the user's leaves the outputs of a whole walk there
        return judged(facts, proof, generated=self._generated) if facts.absent is None else None


def judged(facts: validate.ValidateFacts, proof: Proof, *, generated: bool) -> Measured:
    """Return what validate's facts come to against a tolerance."""
    tolerance, metric = proof.tolerance, facts.metric
    gates = judge_outputs(tolerance.outputs, facts.outputs, proof.measuring.provider, generated)
    if tolerance.metric is not None and metric is not None:
        better = metric.higher_is_better
        gates.append(judge_metric(tolerance.metric, metric.model, metric.source, better, None, generated))
    gates = judge_sizes(gates, tolerance.outputs, facts.sizes or (), proof.measuring.provider)
    shares: dict[str, float] = {}
    for name, share in _shares(facts, tolerance):
        shares[name] = max(share, shares.get(name, 0.0))
    worst = max(shares, key=lambda gate: shares[gate], default=None)
    sqnr = [from_text(value) for output in facts.outputs if (value := output.sqnr_db) is not None]
    return Measured(
        use=shares[worst] if worst is not None else 0.0,
        sqnr_db=min(sqnr, default=math.inf),
        meets=all(gate.verdict is not Verdict.FAILED for gate in gates),
        gate=_told(worst, gates),
    )


def _shares(facts: validate.ValidateFacts, tolerance: Tolerance) -> Iterator[tuple[str, float]]:
    """Yield how much of each limit is used, by the gate's name; what can't be compared has used it all."""
    data = [(output, tolerance.outputs.get(output.name)) for output in facts.outputs]
    edges = [
        (output.measures, elementwise(tolerance.outputs.get(output.name, OutputTolerance())))
        for size in facts.sizes or ()
        for output in size.outputs
        if output.measures is not None
    ]
    for output, limits in (*data, *edges):
        for measure in limited(limits) if limits is not None else ():
            assert limits is not None
            share = used(limits, measure, output)
            name = ("atol" if limits.atol is not None else "rtol") if measure == "elementwise" else measure
            yield f"tolerance.{output.name}.{name}", math.inf if share is None else share
    metric = facts.metric
    if tolerance.metric is not None and metric is not None:
        share = metric_used(tolerance.metric, metric.model, metric.source, metric.higher_is_better)
        yield "tolerance.metric", math.inf if share is None else share


def _told(name: str | None, gates: list[GateResult]) -> str:
    gate = next((gate for gate in gates if gate.gate == name), None)
    if gate is None or gate.measured is None:
        return name or ""
    measured = f"{gate.measured:.6g}" if isinstance(gate.measured, float) else gate.measured
    return f"{gate.gate} {measured}, required {gate.limit}"
