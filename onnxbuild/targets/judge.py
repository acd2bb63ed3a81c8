"""Gates of a target, computed from what its traces measured and what its recipe now requires; measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from onnxbuild.engine.events import Failure, Status
from onnxbuild.engine.run import Outcome
from onnxbuild.ir.facts import ModelFacts
from onnxbuild.ort.facts import simulator_of
from onnxbuild.plan.action import Plan, TargetPlan
from onnxbuild.proof.gates import (
    GateResult,
    Verdict,
    judge_metric,
    judge_outputs,
    judge_size,
    required_within,
    unmeasured,
    worst_verdict,
)
from onnxbuild.proof.placement import judge_placement
from onnxbuild.proof.simulated import judge_simulated
from onnxbuild.proof.size_gates import judge_exact_sizes, judge_sizes, unverified_sizes
from onnxbuild.proof.speed_gates import judge_latency, judge_memory, judge_speed
from onnxbuild.recipe.providers import TABLE
from onnxbuild.recipe.types import Provider, RandomData
from onnxbuild.stages.benchmark import BenchmarkFacts, estimate_of
from onnxbuild.stages.place import PlaceFacts
from onnxbuild.stages.repair import RepairFacts
from onnxbuild.stages.table import STAGES
from onnxbuild.stages.validate import ValidateFacts
from onnxbuild.store.traces import Trace


class _WithModel(msgspec.Struct, frozen=True):
    """The part of a model-making stage's facts that every one of them has."""

    model: ModelFacts


@dataclass(frozen=True)
class Judgement:
    """A target's verdict with all its gates; `failure` and `failed_action` tell which stage stopped it, if one did."""

    verdict: Verdict
    gates: tuple[GateResult, ...] = ()
    failed_action: str | None = None
    failure: Failure | None = None


def has_missed(judgement: Judgement | None) -> bool:
    """Say whether a tolerance was measured and missed."""
    gates = judgement.gates if judgement is not None else ()
    return any(gate.verdict is Verdict.FAILED and gate.gate.startswith("tolerance.") for gate in gates)


class Judge:
    """Judges targets as soon as the outcomes they need are there, alike whoever is asked first."""

    def __init__(self, plan: Plan, outcomes: Mapping[str, Outcome]) -> None:
        self._plans = {target.target.name: target for target in plan.targets}
        self._actions = plan.actions
        self._outcomes = outcomes
        self._judged: dict[str, Judgement] = {}
        self._meanwhile: dict[str, Judgement] = {}
        self._asked: list[str] = []

    def judgement(self, name: str) -> Judgement | None:
        """Return the judgement of a target, or None while an outcome is missing or after a cancellation."""
        for known in (self._judged, self._meanwhile):
            if name in known:
                return known[name]
        self._asked.append(name)
        judgement = self._judge(self._plans[name])
        self._asked.pop()
        if judgement is not None:
            (self._meanwhile if self._asked else self._judged)[name] = judgement
        if not self._asked:
            self._meanwhile.clear()  # what was found for another's ratio is in a circle not yet its own verdict
        return judgement

    def forget(self, name: str) -> None:
        """Judge the target afresh next time, because one of its actions is made again."""
        self._judged.pop(name, None)

    def _judge(self, plan: TargetPlan) -> Judgement | None:
        stopped = self._first_failure(plan)
        if stopped is not None:
            return Judgement(Verdict.FAILED, (), stopped, self._outcomes[stopped].failure)
        gates: list[GateResult] = []
        for provider in plan.target.providers:
            traces = [self._trace(name) for name in plan.validations[provider.name]]
            measured = [msgspec.json.decode(t.facts, type=ValidateFacts) for t in traces if t is not None]
            placed = self._trace(plan.placements[provider.name])
            if len(measured) < len(traces) or placed is None:
                return None
            gates += self._with_repair(plan, _accuracy_gates(plan, provider, measured, self._source_on_cpu(plan)))
            gates += _placement_gates(provider, msgspec.json.decode(placed.facts, type=PlaceFacts))
        for judge in (self._size_gates, self._speed_gates, self._measured_gates):
            found = judge(plan)
            if found is None:
                return None
            gates += found
        gates = self._as_simulated(plan, gates)
        return Judgement(worst_verdict(gate.verdict for gate in gates), tuple(gates))

    def _as_simulated(self, plan: TargetPlan, gates: list[GateResult]) -> list[GateResult]:
        """Return the gates, those on providers for whose device a simulator stands as it can decide them."""
        required = {provider.name: provider.required for provider in plan.target.providers}
        simulators = {}
        for provider, action in plan.placements.items():
            placed = self._trace(action)
            devices = msgspec.json.decode(placed.facts, type=PlaceFacts).devices if placed is not None else ()
            if (simulator := simulator_of(devices)) is not None:
                simulators[provider] = simulator
        return [
            judge_simulated(gate, simulators[gate.provider], required[gate.provider])
            if gate.provider in simulators
            else gate
            for gate in gates
        ]

    def _source_on_cpu(self, plan: TargetPlan) -> ValidateFacts | None:
        """Return what the model as it came from its source measured on the CPU, None where it was not asked for."""
        trace = self._trace(plan.validations["cpu"][0]) if "cpu" in plan.validations else None
        return msgspec.json.decode(trace.facts, type=ValidateFacts) if trace is not None else None

    def _with_repair(self, plan: TargetPlan, gates: list[GateResult]) -> list[GateResult]:
        """Return the gates, those that failed with what the best that repair found comes to."""
        trace = self._trace(plan.models[-1].ref.action) if plan.models[-1].label == "repair" else None
        if trace is None:
            return gates
        text = f"the best repair found: {msgspec.json.decode(trace.facts, type=RepairFacts).summary()}"
        return [
            msgspec.structs.replace(gate, reason=f"{gate.reason}; {text}" if gate.reason else text)
            if gate.verdict is Verdict.FAILED
            else gate
            for gate in gates
        ]

    def _size_gates(self, plan: TargetPlan) -> list[GateResult] | None:
        bound = plan.target.size
        if bound is None:
            return []
        own = self._bytes(plan)
        if own is None:
            return None
        if bound.of is None:
            return [judge_size(bound, own, None)]
        other = self._plans[f"{plan.target.recipe}:{bound.of}"]
        if not self._is_settled(other):
            return None
        return [judge_size(bound, own, None if self._has_failed(other) else self._bytes(other))]

    def _speed_gates(self, plan: TargetPlan) -> list[GateResult] | None:
        gate = plan.target.speed
        if gate is None:
            return []
        other = self._plans[f"{plan.target.recipe}:{gate.bound.of}"]
        if not self._is_settled(other):
            return None
        if self._has_failed(other):
            return [judge_speed(gate, None, f"'{gate.bound.of}' failed, so there is no speed to compare with")]
        facts = self._benchmark(plan.versus)
        if facts is None:
            return None
        return [judge_speed(gate, estimate_of(facts, "speed", gate.batch), facts.absent or "")]

    def _measured_gates(self, plan: TargetPlan) -> list[GateResult] | None:
        """Return the gates on what the target's own benchmarks measured."""
        facts = {provider: self._benchmark(action) for provider, action in plan.benchmarks.items()}
        found: list[GateResult] = []
        for latency in plan.target.latency:
            measured = facts[latency.provider]
            if measured is None:
                return None
            found.append(
                judge_latency(latency, estimate_of(measured, latency.percentile, latency.batch), measured.absent or "")
            )
        memory = plan.target.memory
        if memory is not None:
            measured = facts[memory.provider]
            if measured is None:
                return None
            found.append(judge_memory(memory, estimate_of(measured, "memory", 0), measured.absent or ""))
        return found if all(each is not None for each in facts.values()) else None

    def _benchmark(self, action: str | None) -> BenchmarkFacts | None:
        trace = self._trace(action) if action is not None else None
        return None if trace is None else msgspec.json.decode(trace.facts, type=BenchmarkFacts)

    def _is_settled(self, plan: TargetPlan, below: frozenset[str] = frozenset()) -> bool:
        """Tell whether all that the target's own gates need has come in, for its ratios also that of the others."""
        named = {plan.target.name} | below
        bounds = (plan.target.size, plan.target.speed.bound if plan.target.speed is not None else None)
        others = {f"{plan.target.recipe}:{bound.of}" for bound in bounds if bound is not None and bound.of is not None}
        return all(name in self._outcomes for name in plan.measurements) and all(
            self._is_settled(self._plans[other], frozenset(named)) for other in others - named
        )

    def _has_failed(self, other: TargetPlan) -> bool:
        """Tell whether a target that a ratio refers to has failed, by itself where it refers back in a circle."""
        if other.target.name in self._asked:
            return self._first_failure(other) is not None
        judged = self.judgement(other.target.name)
        return judged is None or judged.verdict is Verdict.FAILED

    def _first_failure(self, plan: TargetPlan) -> str | None:
        seen, stack = set(), [plan.package, *plan.proofs]
        while stack:
            name = stack.pop()
            if name in seen or name not in self._actions:
                continue
            seen.add(name)
            outcome = self._outcomes.get(name)
            if outcome is not None and outcome.status is Status.FAILED:
                return name
            stack.extend(self._actions[name].upstream)
        return None

    def _bytes(self, plan: TargetPlan) -> int | None:
        trace = self._trace(plan.models[-1].ref.action)
        return model_facts(trace).bytes if trace is not None else None

    def _trace(self, action: str) -> Trace | None:
        outcome = self._outcomes.get(action)
        return outcome.trace if outcome is not None else None


def _placement_gates(provider: Provider, facts: PlaceFacts) -> list[GateResult]:
    assigned = facts.assignment
    got, nodes = (assigned.got(facts.asked), assigned.nodes) if assigned is not None else (0, 0)
    return judge_placement(provider, facts.absent, got, nodes)


def model_facts(trace: Trace) -> ModelFacts:
    """Return the model's description from the trace of any stage that makes a model."""
    return msgspec.json.decode(trace.facts, type=_WithModel).model


def decode_facts(trace: Trace) -> msgspec.Struct:
    """Return a trace's facts as its stage's own type."""
    facts: msgspec.Struct = msgspec.json.decode(trace.facts, type=STAGES[trace.stage].facts)
    return facts


def _accuracy_gates(
    plan: TargetPlan, provider: Provider, measured: Sequence[ValidateFacts], on_cpu: ValidateFacts | None
) -> list[GateResult]:
    """Judge the delivered model on the data and at the edges of dynamic axes; `measured` has one item a model."""
    last, limits = measured[-1], provider.tolerance.outputs
    if last.absent is not None:
        return unmeasured(provider.tolerance, provider.name, f"there is no {provider.name} here")
    gates = _on_data(plan, provider, last)
    gates = [_name_first_step(gate, plan, provider, measured, on_cpu) for gate in gates]
    gates = judge_sizes(gates, limits, last.sizes or (), provider.name)
    exact = next((facts for facts in measured if facts.sizes is not None), last)
    sizes = exact.sizes or ()
    gates = judge_exact_sizes(gates, limits, exact.outputs, sizes, provider.name, delivered=exact is last)
    axes = plan.target.dynamic_axes
    if axes and not any(size.outputs or size.failure for size in last.sizes or ()):
        gates = unverified_sizes(gates, axes)
    return gates


def _on_data(plan: TargetPlan, provider: Provider, facts: ValidateFacts) -> list[GateResult]:
    target = plan.target
    generated = target.evaluation is None or isinstance(target.evaluation.data, RandomData)
    tolerance, metric = provider.tolerance, facts.metric
    gates = judge_outputs(tolerance.outputs, facts.outputs, provider.name, generated)
    if tolerance.metric is not None and metric is not None:
        better = metric.higher_is_better
        values = metric.model, metric.source, better
        gates.append(judge_metric(tolerance.metric, *values, provider.name, generated, metric.intervals))
    return gates


def _name_first_step(
    gate: GateResult,
    plan: TargetPlan,
    provider: Provider,
    measured: Sequence[ValidateFacts],
    on_cpu: ValidateFacts | None,
) -> GateResult:
    """Return a failed gate with the first step after which the model missed the limit, which is where to look."""
    if gate.verdict is not Verdict.FAILED:
        return gate
    for model, facts in zip(plan.models, measured, strict=True):
        if _misses(gate, plan, provider, facts):
            reason = "; ".join(filter(None, (gate.reason, f"first missed after {model.label}")))
            if model is plan.models[0]:
                told = on_cpu if on_cpu is not None and _has_counted(provider, on_cpu) else None
                differs = told is not None and not _misses(gate, plan, provider, told)
                reason += _provider_suspected(provider) if differs else _source_suspected(plan)
            return msgspec.structs.replace(gate, reason=reason)
    return gate


def _has_counted(provider: Provider, facts: ValidateFacts) -> bool:
    """Tell whether the shares that this provider's limits are on were counted: on another only that one's are."""
    limits = provider.tolerance.outputs
    return all(
        {*required_within(limits[measures.name])} <= {(within.atol, within.rtol) for within in measures.within}
        for measures in facts.outputs
        if measures.name in limits
    )


def _misses(gate: GateResult, plan: TargetPlan, provider: Provider, facts: ValidateFacts) -> bool:
    """Tell whether what was measured, on whichever provider, misses the limit of this provider's gate."""
    found = next((each for each in _on_data(plan, provider, facts) if each.gate == gate.gate), None)
    return found is not None and found.verdict is Verdict.FAILED


def _provider_suspected(provider: Provider) -> str:
    rounds = TABLE[provider.name].rounds
    is_settled = rounds is None or any(option in rounds for option in provider.options)  # the recipe says itself
    told = "" if is_settled else f": {rounds}"
    return f", which meets it on the cpu, so {provider.name} computes otherwise{told}"


def _source_suspected(plan: TargetPlan) -> str:
    if plan.target.session.graph_optimization == "disable":
        return ""
    runtime = "ONNX Runtime's own optimiser, which `session: {graph_optimization: disable}` leaves out"
    return f": either {plan.models[0].label} or {runtime}"
