"""The actions that measure time: what tunes the session, a benchmark on each provider, and in turns with a variant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec

from onnxbuild.plan.action import Ref, TargetPlan
from onnxbuild.plan.compiled import compiled_or
from onnxbuild.plan.drafts import Drafts
from onnxbuild.plan.target_action import target_action
from onnxbuild.proof.timing import TimeLimit
from onnxbuild.recipe.types import Benchmark, Choice, Target
from onnxbuild.stages.benchmark import BenchmarkParams
from onnxbuild.stages.tune import TuneParams

TUNE_SECONDS = 0.25
"""What one side of a comparison takes at most while a session is tuned: there are about eight."""


def add_tune(drafts: Drafts, target: Target, model: Ref, evaluation: str) -> str | None:
    """Add the choice of the session on the first provider, where the recipe leaves it open."""
    if target.tune is None:
        return None
    provider, seconds = target.providers[0], target.benchmark.min_seconds if target.benchmark else TUNE_SECONDS
    params = TuneParams(
        provider=provider.name,
        options=provider.options,
        objective=target.tune.objective,
        session=target.session,
        inputs=target.inputs,
        axes=target.dynamic_axes,
        batch=target.tune.batch,
        min_seconds=min(seconds, TUNE_SECONDS),
    )
    inputs = {"model": model, "calls": Ref(evaluation, "inputs")}
    action = target_action(target, "tune", params, inputs)
    action = replace(action, locked=Choice(sessions=tuple(target.sessions.items())))
    return drafts.add(target, f"tune@{provider.name}", action)


def add_benchmarks(
    drafts: Drafts, target: Target, inputs: dict[str, Ref], compiled: Mapping[str, str]
) -> dict[str, str]:
    """Add a benchmark of the delivered model on each provider, where the recipe or a gate asks for it.

    A compiled model is measured with the plain one beside it, because the time to open is what it is made for.
    """
    if target.benchmark is None:
        return {}
    added = {}
    for provider in target.providers:
        gates = [gate for gate in target.latency if gate.provider == provider.name]
        limits = [TimeLimit(measure=g.percentile, batch=g.batch, value=g.bound.value) for g in gates]
        if target.memory is not None and target.memory.provider == provider.name:
            limits.append(TimeLimit(measure="memory", batch=0, value=target.memory.bound.value))
        batches = tuple(dict.fromkeys([*target.benchmark.batch, *(gate.batch for gate in gates)]))
        params = _benchmark_params(target, target.benchmark, provider.name, batches, limits)
        own = dict(inputs)
        if provider.name in compiled:
            own |= {"model": compiled_or(inputs["model"], compiled, provider.name), "plain": inputs["model"]}
        added[provider.name] = drafts.add(
            target, f"benchmark@{provider.name}", target_action(target, "benchmark", params, own)
        )
    return added


def add_comparisons(drafts: Drafts, plans: Sequence[TargetPlan]) -> Iterator[TargetPlan]:
    """Add to each target of a recipe with a speed gate the benchmark in turns with the variant that it names."""
    by_variant = {plan.target.variant: plan for plan in plans}
    for plan in plans:
        target, gate, benchmark = plan.target, plan.target.speed, plan.target.benchmark
        other = by_variant.get(gate.bound.of or "") if gate is not None else None
        if gate is None or benchmark is None or other is None:
            yield plan
            continue
        limits = [TimeLimit(measure="speed", batch=gate.batch, value=gate.bound.value)]
        params = _benchmark_params(target, benchmark, gate.provider, (gate.batch,), limits)
        params = msgspec.structs.replace(params, memory=False, other_session=other.target.session)
        inputs = {
            "model": compiled_or(plan.models[-1].ref, plan.compiled, gate.provider),
            "other": compiled_or(other.models[-1].ref, other.compiled, gate.provider),
            "calls": Ref(plan.evaluation, "inputs"),
            **({"session": Ref(plan.tune, "session")} if plan.tune is not None else {}),
            **({"other_session": Ref(other.tune, "session")} if other.tune is not None else {}),
        }
        label = f"benchmark@{gate.provider}.1"
        yield replace(plan, versus=drafts.add(target, label, target_action(target, "benchmark", params, inputs)))


def _benchmark_params(
    target: Target, benchmark: Benchmark, provider: str, batches: tuple[int, ...], limits: Sequence[TimeLimit]
) -> BenchmarkParams:
    return BenchmarkParams(
        provider=provider,
        options=next((each.options for each in target.providers if each.name == provider), {}),
        session=target.session,
        inputs=target.inputs,
        axes=target.dynamic_axes,
        batches=batches,
        min_seconds=benchmark.min_seconds,
        memory=benchmark.memory,
        limits=tuple(limits),
    )
