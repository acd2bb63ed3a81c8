"""The benchmark stage: how long calls take, how that compares with another variant, and what memory they need.

Decides nothing. It measures longer where what it has does not decide a limit of the recipe, up to a bound.
"""

from __future__ import annotations

import msgspec

from onnxbuild.proof.timing import Estimate, Latency, Loading, Memory, Surroundings, TimeLimit, Versus
from onnxbuild.recipe.providers import TABLE
from onnxbuild.recipe.types import Axis, Input, Session
from onnxbuild.stages.packages import ONNXRUNTIME, PRELOAD
from onnxbuild.stages.stage import Stage, Workspace
from onnxbuild.stages.tune import session_of


class BenchmarkParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of benchmark. Inputs: `model`, `calls`, `session` and `other_session` where tune chose them, and
    `other`, the variant that a ratio names (if any), or `plain`, what a compiled `model` was compiled from.

    With `other` both are run in turns at the first of `batches`, and nothing else is measured; `other_session` is its
    own. `limits` are what is to be decided.
    """

    provider: str
    options: dict[str, str] = {}
    session: Session
    inputs: tuple[Input, ...]
    axes: dict[str, Axis]
    batches: tuple[int, ...]
    min_seconds: float
    memory: bool
    other_session: Session | None = None
    limits: tuple[TimeLimit, ...] = ()


class BenchmarkFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured. Output: `samples`, every time taken, in nanoseconds, as arrays in samples.npz.

    `plain_loading` is what opening takes without what the provider compiled ahead, where there is such a model.
    `exhausted` says that the bound was reached with a limit undecided, `absent` why there is no such provider here:
    then nothing was measured.
    """

    surroundings: Surroundings
    latencies: tuple[Latency, ...] = ()
    versus: Versus | None = None
    loading: Loading | None = None
    plain_loading: Loading | None = None
    memory: Memory | None = None
    exhausted: bool = False
    absent: str | None = None


def run(params: BenchmarkParams, work: Workspace) -> BenchmarkFacts:
    """Measure the model, or it and the other variant in turns. Raises StageFailure."""
    import numpy as np

    from onnxbuild.stages.measuring import AbsentError, Bench
    from onnxbuild.stages.surroundings import describe_surroundings, no_garbage_collection, system_load

    before = system_load()
    session = session_of(params.session, work)
    provider = (params.provider, params.options)
    bench = Bench(work, provider, session, params.inputs, params.axes, params.min_seconds, params.limits)
    latencies: tuple[Latency, ...] = ()
    versus = loading = plain_loading = memory = None
    try:
        with no_garbage_collection():
            if "other" in work.inputs:
                other = session_of(params.other_session or Session(), work, "other_session")
                versus = bench.turns(session, "other", other, params.batches[0])
            else:
                latencies = tuple(bench.latency(batch) for batch in params.batches)
                loading, memory = bench.fresh(max(params.batches), params.memory)
                plain_loading = bench.opening("plain", max(params.batches)) if "plain" in work.inputs else None
    except AbsentError as error:
        return BenchmarkFacts(surroundings=describe_surroundings(session, before), absent=str(error))
    np.savez_compressed(work.output("samples") / "samples.npz", **bench.samples)  # type: ignore[arg-type]  # of savez
    facts = BenchmarkFacts(
        surroundings=describe_surroundings(session, before),
        latencies=latencies,
        versus=versus,
        loading=loading,
        plain_loading=plain_loading,
        memory=memory,
    )
    return msgspec.structs.replace(facts, exhausted=not holds(params, facts))


def holds(params: BenchmarkParams, facts: BenchmarkFacts) -> bool:
    """Tell whether what was measured decides the limits of today, or as much was measured as there ever is."""
    estimates = [(estimate_of(facts, limit.measure, limit.batch), limit.value) for limit in params.limits]
    return facts.exhausted or all(found is None or found.decides(value) for found, value in estimates)


def estimate_of(facts: BenchmarkFacts, measure: str, batch: int) -> Estimate | None:
    """Return what was measured for a limit: a percentile of a batch, "speed" or "memory"; None if it was not."""
    if measure == "memory":
        return facts.memory.peak if facts.memory is not None else None
    if measure == "speed":
        return facts.versus.ratio if facts.versus is not None else None
    found = next((latency for latency in facts.latencies if latency.batch == batch), None)
    return found.percentile(measure) if found is not None else None


BENCHMARK = Stage(
    name="benchmark",
    version=5,
    params=BenchmarkParams,
    facts=BenchmarkFacts,
    run=run,
    packages=lambda params: ("ml-dtypes", "numpy", ONNXRUNTIME, *TABLE[params.provider].distributions),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda _: False,
    unkeyed=("limits",),
    holds=holds,
    seconds=3.0,
    only_reads=True,
    hardware=lambda _: True,
    cores=lambda _: True,
    devices=lambda params: params.provider != "cpu",
    alone=True,
)
