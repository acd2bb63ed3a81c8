"""What of a target goes into its lock, and how a make differs from what was accepted; reads no lock and writes none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from onnxbuild.base.codec import encode
from onnxbuild.engine.run import Outcome
from onnxbuild.plan.action import Plan, TargetPlan
from onnxbuild.recipe.lock import LockedMetric, LockedPlacement, LockedTarget
from onnxbuild.recipe.types import Choice
from onnxbuild.stages.place import PlaceFacts
from onnxbuild.stages.reverts import Reverted
from onnxbuild.stages.validate import ValidateFacts
from onnxbuild.store.traces import Trace
from onnxbuild.targets.judge import Judgement, model_facts


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a step's facts that a lock keeps, where the step has it."""

    choice: Choice | None = None
    reverted: tuple[Reverted, ...] = ()


def describe_target(
    plan: Plan, target: TargetPlan, judgement: Judgement, outcomes: Mapping[str, Outcome], waivers: Mapping[str, str]
) -> LockedTarget:
    """Return what the lock keeps of a target all of whose models were made and measured."""
    traces = _traces(plan, target, outcomes)
    steps = [traces[model.ref.action] for model in target.models]
    told = [msgspec.json.decode(trace.facts, type=_Told) for trace in steps]
    package = outcomes[target.package].trace if target.package in outcomes else None
    delivered = package.outputs["package"] if package is not None else steps[-1].outputs[target.models[-1].ref.output]
    model = model_facts(steps[-1])
    return LockedTarget(
        verdict=judgement.verdict.value,
        sources=_sources(traces),
        output={name: blob.digest for name, blob in delivered.files.items()},
        opset=model.opsets,
        ir_version=model.ir_version,
        choice=next((one.choice for one in reversed(told) if one.choice not in (None, Choice())), None),
        reverted=tuple(one.title for step in told for one in step.reverted),
        metrics=dict(_metrics(target, traces)),
        placement=dict(_placement(target, outcomes)),
        hardware=traces[target.validations[target.target.providers[0].name][-1]].host.hardware,
        versions=_versions(traces),
        waivers=dict(waivers),
    )


def differences(accepted: LockedTarget, now: LockedTarget) -> tuple[str, ...]:
    """Return in words how a target differs from what was accepted, in what must agree exactly."""
    return (
        *_sources_differ(accepted.sources, now.sources),
        *_differ("opset", accepted.opset, now.opset),
        *_differ("ir_version", accepted.ir_version, now.ir_version),
        *_differ("choice", accepted.choice, now.choice),
        *_placed_otherwise(accepted, now),
        *_differ("what was left out of `passes`", accepted.reverted, now.reverted),
    )


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


def _placed_otherwise(accepted: LockedTarget, now: LockedTarget) -> Iterator[str]:
    """Compare the placement on the providers that are here and were there."""
    for provider, was in accepted.placement.items():
        if provider in now.placement:
            yield from _differ(f"placement on {provider}", was, now.placement[provider])


def _placement(target: TargetPlan, outcomes: Mapping[str, Outcome]) -> Iterator[tuple[str, LockedPlacement]]:
    for provider, name in target.placements.items():
        trace = outcomes[name].trace if name in outcomes else None
        facts = msgspec.json.decode(trace.facts, type=PlaceFacts) if trace is not None else None
        if facts is not None and facts.assignment is not None:
            yield provider, LockedPlacement(nodes=facts.assignment.got(facts.asked), of=facts.assignment.nodes)


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


def _metrics(target: TargetPlan, traces: Mapping[str, Trace]) -> Iterator[tuple[str, LockedMetric]]:
    for provider, names in target.validations.items():
        trace = traces.get(names[-1])
        metric = msgspec.json.decode(trace.facts, type=ValidateFacts).metric if trace is not None else None
        if metric is not None:
            interval = metric.intervals.value if metric.intervals is not None else None
            yield provider, LockedMetric(name=metric.name, model=metric.model, source=metric.source, interval=interval)
