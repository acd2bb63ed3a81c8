"""The benchmark and the gates on speed, latency and memory of a merged recipe as values; knows nothing of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnxbuild.recipe.bounds import latency_bound, memory_bound, speed_bound
from onnxbuild.recipe.draft import Draft
from onnxbuild.recipe.known import PROVIDERS
from onnxbuild.recipe.types import Axis, Benchmark, Input, LatencyGate, MemoryGate, Provider, SpeedGate, Tuning

PERCENTILES = ("p50", "p90", "p95", "p99")
_SHORT_NAMES = {full: short for short, full in PROVIDERS.items()}


@dataclass(frozen=True)
class SpeedLimits:
    """What a target is measured for beyond accuracy; `benchmark` None: nothing of it."""

    benchmark: Benchmark | None = None
    speed: SpeedGate | None = None
    latency: tuple[LatencyGate, ...] = ()
    memory: MemoryGate | None = None


def build_speed_limits(draft: Draft, variant: str, providers: Sequence[Provider], rows: int) -> SpeedLimits:
    """Return benchmark and gates; a gate brings the benchmark with it. `rows` is the default batch of the model."""
    raw, gates = draft.raw.benchmark, draft.raw.gates
    batch = tuple(dict.fromkeys(raw.batch)) if raw is not None and raw.batch else (rows,)
    benchmark = None
    if raw is not None:
        benchmark = Benchmark(
            batch=batch,
            min_seconds=raw.min_seconds if raw.min_seconds is not None else 0.5,
            memory=raw.memory is not False,
        )
    if gates is None:
        return SpeedLimits(benchmark)
    first = providers[0].name
    speed = memory = None
    latency: tuple[LatencyGate, ...] = ()
    if (fast := gates.speed) is not None:
        if fast.at_least is None:
            draft.missing(("gates", "speed", "at_least"), "`at_least`", hint="at_least: 1.1x of fp32")
        elif (bound := speed_bound(fast.at_least)).of != variant:
            speed = SpeedGate(bound=bound, provider=_short(fast.provider) or first, batch=fast.batch or batch[0])
    if (quick := gates.latency) is not None:
        limits = {name: limit for name in PERCENTILES if (limit := getattr(quick, name)) is not None}
        if not limits:
            draft.missing(("gates", "latency", "p95"), f"one of {', '.join(PERCENTILES)}", hint="p95: 5 ms")
        latency = tuple(
            LatencyGate(
                percentile=name,
                bound=latency_bound(name, limit),
                provider=_short(quick.provider) or first,
                batch=quick.batch or batch[0],
            )
            for name, limit in limits.items()
        )
    if gates.memory is not None:
        if gates.memory.peak is None:
            draft.missing(("gates", "memory", "peak"), "`peak`", hint="peak: 200 MB")
        else:
            bound = memory_bound(gates.memory.peak)
            memory = MemoryGate(bound=bound, provider=_short(gates.memory.provider) or first)
            if raw is not None and raw.memory is False and "benchmark" not in draft.broken:
                message = "`gates.memory` needs what `benchmark.memory: false` leaves out"
                place, hint = draft.value("benchmark", "memory"), "leave one of them out"
                draft.error("wrong-value", message, place, "benchmark", hint=hint)
    if benchmark is None and (speed is not None or latency or memory is not None):
        benchmark = Benchmark(batch=batch)
    return SpeedLimits(benchmark, speed, latency, memory)


def build_tuning(
    draft: Draft, benchmark: Benchmark | None, inputs: Sequence[Input], axes: Mapping[str, Axis]
) -> Tuning | None:
    """Return what the session is to be tuned for: throughput with the largest batch that is measured, else 32 rows."""
    objective = draft.raw.session.auto if draft.raw.session is not None else None
    if objective is None:
        return None
    written = benchmark.batch if benchmark is not None else ()
    if objective == "latency":
        return Tuning(objective=objective, batch=written[0] if written else default_rows(inputs, axes))
    axis = axes.get(str(first_dim(inputs)))
    if written or axis is None:
        return Tuning(objective=objective, batch=max(written, default=default_rows(inputs, axes)))
    rows = min(axis.max, 32)
    return Tuning(objective=objective, batch=max(rows - rows % axis.multiple_of, axis.min))


def default_rows(inputs: Sequence[Input], axes: Mapping[str, Axis]) -> int:
    """Return the smallest batch that the model takes: the rows of a call where nothing else is asked for."""
    first = first_dim(inputs)
    if isinstance(first, int):
        return first
    axis = axes.get(first) if first is not None else None
    return max(axis.min, axis.multiple_of) if axis is not None else 1


def first_dim(inputs: Sequence[Input]) -> int | str | None:
    """Return the dim that all inputs with dims begin with: the batch. None where they differ, or none has any."""
    firsts = {value.shape[0] for value in inputs if value.shape}
    return firsts.pop() if len(firsts) == 1 else None


def _short(provider: str | None) -> str | None:
    return None if provider is None else _SHORT_NAMES.get(provider, provider)
