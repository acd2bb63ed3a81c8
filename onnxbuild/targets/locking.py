"""What of a target goes into its lock, and how a make differs from what was accepted; reads no lock and writes none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from onnxbuild.base.codec import encode
from onnxbuild.engine.events import Status
from onnxbuild.engine.run import Outcome
from onnxbuild.ir.facts import ModelFacts
from onnxbuild.ort.facts import simulator_of
from onnxbuild.plan.action import Plan, TargetPlan
from onnxbuild.proof.gates import GateResult
from onnxbuild.proof.timing import Estimate
from onnxbuild.recipe.lock import LockedEstimate, LockedMetric, LockedPlacement, LockedTarget
from onnxbuild.recipe.types import Axis, Choice, Target, TunedSession
from onnxbuild.stages.benchmark import BenchmarkFacts
from onnxbuild.stages.place import PlaceFacts
from onnxbuild.stages.reverts import Reverted
from onnxbuild.stages.tune import TuneFacts, tuned
from onnxbuild.stages.validate import ValidateFacts
from onnxbuild.store.traces import Trace
from onnxbuild.targets.judge import Judgement, model_facts


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a step's facts that a lock keeps, where the step has it."""

    choice: Choice | None = None
    reverted: tuple[Reverted, ...] = ()


def describe_target(
    plan: Plan,
    target: TargetPlan,
    judgement: Judgement,
    outcomes: Mapping[str, Outcome],
    waivers: Mapping[str, str],
    recipe: str = "",
) -> LockedTarget:
    """Return what the lock keeps of a target all of whose models were made and measured.

    `recipe` is the digest of its recipe's text.
    """
    traces = _traces(plan, target, outcomes)
    steps = [traces[model.ref.action] for model in target.models]
    told = [msgspec.json.decode(trace.facts, type=_Told) for trace in steps]
    package = outcomes[target.package].trace if target.package in outcomes else None
    delivered = package.outputs["package"] if package is not None else steps[-1].outputs[target.models[-1].ref.output]
    model = model_facts(steps[-1])
    host = traces[target.validations[target.target.providers[0].name][-1]].host
    makers = dict.fromkeys(trace.host.hardware for trace in steps)
    return LockedTarget(
        verdict=judgement.verdict.value,
        recipe=recipe,
        sources=_sources(traces),
        output={name: blob.digest for name, blob in delivered.files.items()},
        bytes=model.bytes,
        opset=model.opsets,
        ir_version=model.ir_version,
        interface=dict(_interface(model)),
        axes={name: _range(axis) for name, axis in target.target.dynamic_axes.items()},
        nodes=model.nodes,
        operators=model.operators,
        structure=model.structure,
        choice=next((one.choice for one in reversed(told) if one.choice not in (None, Choice())), None),
        reverted=tuple(one.title for step in told for one in step.reverted),
        measured={gate_key(gate): gate.measured for gate in judgement.gates},
        limits={gate_key(gate): gate.limit for gate in judgement.gates},
        metrics=dict(_metrics(target, traces, outcomes)),
        placement=dict(_placement(target, outcomes)),
        sessions=_sessions(target, outcomes),
        latencies=dict(_latencies(target, outcomes)),
        memory=dict(_memory(target, outcomes)),
        hardware=host.hardware,
        cores=host.cores,
        built_on="" if [*makers] == [host.hardware] else " and ".join(makers),
        versions=_versions(traces),
        waivers=dict(waivers),
    )


def is_measured(target: TargetPlan, outcomes: Mapping[str, Outcome]) -> bool:
    """Tell whether all of a target's models were made and measured from what is there now."""
    needed = [*(model.ref.action for model in target.models), *target.proofs]
    return all(n in outcomes and outcomes[n].status is Status.OK and outcomes[n].trace is not None for n in needed)


def gate_key(gate: GateResult) -> str:
    """Return a gate's name in a lock: "size", "tolerance.metric@cpu"."""
    return gate.gate if gate.provider is None else f"{gate.gate}@{gate.provider}"


def differences(accepted: LockedTarget, now: LockedTarget) -> tuple[str, ...]:
    """Return in words how a target differs from what was accepted, in what must agree.

    The model's bytes are not looked at where machines of two classes made them.
    """
    return (
        *_sources_differ(accepted.sources, now.sources),
        *_differ("opset", accepted.opset, now.opset),
        *_differ("ir_version", accepted.ir_version, now.ir_version),
        *_graph_differs(accepted, now),
        *_differ("choice", accepted.choice, now.choice),
        *_sessions_differ(accepted, now),
        *_placed_otherwise(accepted, now),
        *_differ("what was left out of `passes`", accepted.reverted, now.reverted),
        *(_bytes_differ(accepted, now) if accepted.maker == now.maker else ()),
        *_metrics_differ(accepted, now),
    )


def _interface(model: ModelFacts) -> Iterator[tuple[str, str]]:
    for kind, values in (("input", model.inputs), ("output", model.outputs)):
        for value in values:
            dims = "of unknown rank" if value.shape is None else f"[{', '.join(map(_dim, value.shape))}]"
            yield f"{kind} {value.name}", f"{value.dtype} {dims}"


def _dim(dim: int | str | None) -> str:
    return "?" if dim is None else str(dim)


def _range(axis: Axis) -> str:
    return f"{axis.min} to {axis.max}" + (f", multiple of {axis.multiple_of}" if axis.multiple_of > 1 else "")


def _sources_differ(accepted: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*accepted, *now}):
        if name not in now:
            yield f"{name} was an input, and is none"
        elif name not in accepted:
            yield f"{name} is an input, and was none"
        elif accepted[name] != now[name]:
            yield f"{name} has the digest {now[name][:12]}…, accepted is {accepted[name][:12]}…"


def _differ(what: str, accepted: object, now: object) -> Iterator[str]:
    if accepted != now:
        yield f"{what} is {encode(now).decode()}, accepted is {encode(accepted).decode()}"


def _graph_differs(accepted: LockedTarget, now: LockedTarget) -> Iterator[str]:
    if accepted.structure == now.structure:
        return
    counts = [
        f"{name} {accepted.operators.get(name, 0)} → {now.operators.get(name, 0)}"
        for name in sorted({*accepted.operators, *now.operators})
        if accepted.operators.get(name, 0) != now.operators.get(name, 0)
    ]
    told = ", ".join(counts) or "as many nodes of each operator, but other names, attributes, edges or shapes"
    yield f"the graph is another than accepted: {told}"


def _bytes_differ(accepted: LockedTarget, now: LockedTarget) -> Iterator[str]:
    for name in sorted({*accepted.output, *now.output}):
        was, found = accepted.output.get(name), now.output.get(name)
        if was != found:
            texts = ["absent" if digest is None else f"{digest[:12]}…" for digest in (found, was)]
            yield f"{name} is {texts[0]}, accepted is {texts[1]}"


def _metrics_differ(accepted: LockedTarget, now: LockedTarget) -> Iterator[str]:
    """Compare the metric on the providers that are here and were there, within the noise that was recorded."""
    for provider, was in accepted.metrics.items():
        placed = now.placement.get(provider)
        found = now.metrics.get(provider)
        if found is None:
            if placed is None or placed.absent is None:
                yield f"{was.name} on {provider} is not measured, accepted is {_number(was.model)}"
        elif found.name != was.name:
            yield f"the metric on {provider} is {found.name}, accepted is {was.name}"
        elif not was.covers(found.model):
            noise = "" if was.interval is None else f" ({_number(was.interval[0])} to {_number(was.interval[1])})"
            yield f"{was.name} on {provider} is {_number(found.model)}, accepted is {_number(was.model)}{noise}"


def _number(value: float | None) -> str:
    return "not a number" if value is None else f"{value:.6g}"


def _placed_otherwise(accepted: LockedTarget, now: LockedTarget) -> Iterator[str]:
    """Compare the placement on the providers that are here and were there."""
    for provider, was in accepted.placement.items():
        found = now.placement.get(provider)
        if found is not None and found.absent is None and was.absent is None:
            yield from _differ(f"placement on {provider}", was, found)


def _placement(target: TargetPlan, outcomes: Mapping[str, Outcome]) -> Iterator[tuple[str, LockedPlacement]]:
    for provider, facts in _placed(target, outcomes):
        simulator = simulator_of(facts.devices)
        if simulator is not None:  # a device may take other nodes
            yield provider, LockedPlacement(absent=f"only {simulator} is here")
        elif facts.assignment is not None:
            yield provider, LockedPlacement(nodes=facts.assignment.got(facts.asked), of=facts.assignment.nodes)
        elif facts.absent is not None:
            yield provider, LockedPlacement(absent=facts.absent)


def _simulated(target: TargetPlan, outcomes: Mapping[str, Outcome]) -> frozenset[str]:
    """Return the providers for whose device a simulator stands."""
    return frozenset(p for p, placed in _placed(target, outcomes) if simulator_of(placed.devices) is not None)


def _placed(target: TargetPlan, outcomes: Mapping[str, Outcome]) -> Iterator[tuple[str, PlaceFacts]]:
    for provider, name in target.placements.items():
        trace = outcomes[name].trace if name in outcomes else None
        if trace is not None:
            yield provider, msgspec.json.decode(trace.facts, type=PlaceFacts)


def _sessions(target: TargetPlan, outcomes: Mapping[str, Outcome]) -> dict[str, TunedSession]:
    """Return the session that was chosen by measuring, by class of machine; none where the recipe's own is used."""
    trace = outcomes[target.tune].trace if target.tune is not None and target.tune in outcomes else None
    if trace is None:
        return {}
    facts = msgspec.json.decode(trace.facts, type=TuneFacts)
    return {facts.machine: tuned(facts)} if facts.absent is None else {}


def beside_other_machines(entry: LockedTarget, target: Target, before: LockedTarget | None) -> LockedTarget:
    """Return the entry with the sessions that `before` has for other machines, as far as they answer what is asked."""
    if target.tune is None or before is None:
        return entry
    asked = (target.tune.objective, target.providers[0].name, target.tune.batch)
    others = {m: one for m, one in before.sessions.items() if (one.objective, one.provider, one.batch) == asked}
    return msgspec.structs.replace(entry, sessions={**others, **entry.sessions})


def unknown_machines(accepted: LockedTarget, now: LockedTarget) -> tuple[str, ...]:
    """Return the classes of machine for which a session was chosen now, and none is accepted but for others."""
    return tuple(machine for machine in now.sessions if accepted.sessions and machine not in accepted.sessions)


def _sessions_differ(accepted: LockedTarget, now: LockedTarget) -> Iterator[str]:
    """Compare what was chosen for one class of machine; a choice for another class says nothing about it."""
    for machine, chosen in now.sessions.items():
        if machine in accepted.sessions:
            yield from _differ("the chosen session", accepted.sessions[machine], chosen)
    if now.sessions and not accepted.sessions:
        yield "the session was chosen by measuring, accepted is the recipe's own"
    here = [one for one in accepted.sessions.values() if not _is_absent(one.provider, now)]
    if here and not now.sessions:
        yield "the session is the recipe's own, accepted is one that was chosen by measuring"


def _is_absent(provider: str, entry: LockedTarget) -> bool:
    placed = entry.placement.get(provider)
    return placed is not None and placed.absent is not None


def _benchmarks(target: TargetPlan, outcomes: Mapping[str, Outcome]) -> Iterator[tuple[str, BenchmarkFacts]]:
    simulated = _simulated(target, outcomes)
    for provider, name in target.benchmarks.items():
        trace = outcomes[name].trace if name in outcomes else None
        if trace is not None and provider not in simulated:
            yield provider, msgspec.json.decode(trace.facts, type=BenchmarkFacts)


def _latencies(target: TargetPlan, outcomes: Mapping[str, Outcome]) -> Iterator[tuple[str, LockedEstimate]]:
    for provider, facts in _benchmarks(target, outcomes):
        for latency in facts.latencies:
            for percentile in ("p50", "p95"):
                found = latency.percentile(percentile)
                yield f"{percentile}, batch {latency.batch}@{provider}", _estimate(found)


def _memory(target: TargetPlan, outcomes: Mapping[str, Outcome]) -> Iterator[tuple[str, LockedEstimate]]:
    for provider, facts in _benchmarks(target, outcomes):
        if facts.memory is not None:
            yield provider, _estimate(facts.memory.peak)


def _estimate(found: Estimate) -> LockedEstimate:
    """Return an estimate in as many digits as such a measurement has."""
    value, low, high = (None if number is None else float(f"{number:.4g}") for number in msgspec.structs.astuple(found))
    return LockedEstimate(value=value or 0.0, low=low or 0.0, high=high)


def _traces(plan: Plan, target: TargetPlan, outcomes: Mapping[str, Outcome]) -> dict[str, Trace]:
    """Return the traces of all actions that a target's model and its proof come from, by name."""
    stack = [target.package, *target.proofs]
    wanted: set[str] = set()
    while stack:
        name = stack.pop()
        if name not in wanted:
            wanted.add(name)
            stack.extend(plan.actions[name].upstream)
    found = ((name, outcomes[name].trace) for name in plan.actions if name in wanted and name in outcomes)
    return {name: trace for name, trace in found if trace is not None}


def _sources(traces: Mapping[str, Trace]) -> dict[str, str]:
    """Return the digests of what the recipe names and of what its code read, by path relative to the project."""
    sources: dict[str, str] = {}
    for trace in traces.values():
        sources |= {line.note: line.value for line in trace.manifest if line.label.startswith("file ")}
        sources |= {found.name: found.digest for found in trace.discovered if found.kind == "file"}
    return {name: digest for name, digest in sorted(sources.items()) if not name.startswith("../")}


def _versions(traces: Mapping[str, Trace]) -> dict[str, str]:
    found: dict[str, str] = {}
    for trace in traces.values():
        prefix = "package "
        found |= {line.label[len(prefix) :]: line.value for line in trace.manifest if line.label.startswith(prefix)}
    return dict(sorted(found.items()))


def _metrics(
    target: TargetPlan, traces: Mapping[str, Trace], outcomes: Mapping[str, Outcome]
) -> Iterator[tuple[str, LockedMetric]]:
    simulated = _simulated(target, outcomes)
    for provider, names in target.validations.items():
        if provider in simulated:  # a device may compute otherwise
            continue
        trace = traces.get(names[-1])
        metric = msgspec.json.decode(trace.facts, type=ValidateFacts).metric if trace is not None else None
        if metric is not None:
            interval = metric.intervals.value if metric.intervals is not None else None
            yield provider, LockedMetric(name=metric.name, model=metric.model, source=metric.source, interval=interval)
