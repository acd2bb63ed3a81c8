"""What a benchmark measured, as values, and whether it decides a limit; measures nothing and leaves numpy out."""

from __future__ import annotations

import msgspec

CONFIDENCE = 0.99
"""Of every interval: the data are looked at more than once, and neighbouring runs are alike."""


class Estimate(msgspec.Struct, frozen=True):
    """A measured value with its interval; `high` None: too few samples to bound it from above."""

    value: float
    low: float
    high: float | None

    def decides(self, limit: float) -> bool:
        """Tell whether the whole interval lies on one side of the limit."""
        return self.low >= limit or (self.high is not None and self.high <= limit)


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of `batch` rows: milliseconds of each percentile with its interval; `throughput` in rows a second.

    `curve` holds the percentiles 0, 0.5, 1 and so on to 100: what every sample came to, as a line.
    """

    batch: int
    runs: int
    p50: Estimate
    p90: Estimate
    p95: Estimate
    p99: Estimate
    mean: float
    std: float
    min: float
    max: float
    throughput: float
    curve: tuple[float, ...]

    def percentile(self, name: str) -> Estimate:
        """Return the percentile of this name ("p95")."""
        found: Estimate = getattr(self, name)
        return found


class Versus(msgspec.Struct, frozen=True, kw_only=True):
    """A model against another, run in turns in one process: `ratio` of medians, above 1 where the own is faster."""

    batch: int
    rounds: int
    ratio: Estimate
    own: Latency
    other: Latency


class Loading(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds to open a session in a fresh process, with the file out of the page cache as far as the system
    does that (`cold`), and again in the same process (`warm`); of the first call after each (`first`, `first_warm`)."""

    cold: float
    warm: float
    first: float
    first_warm: float | None = None


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """The peak with arena and memory pattern on or off; `own` is the one that the session has."""

    arena: bool
    pattern: bool
    own: bool
    peak: Estimate


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a fresh process that loads the model and runs the largest batch.

    `peak` is resident, above that of a process with a model of one node (`base`), the middle of some processes with
    their least and most; `settings` are peaks in the same way, with arena and memory pattern on and off. `arena` is
    what ONNX Runtime's arena holds, `in_use` the most of it that was in use at once; None where there is no arena.
    """

    batch: int
    base: int
    peak: Estimate
    settings: tuple[Setting, ...] = ()
    arena: int | None
    in_use: int | None


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured: the load is the system's average over a minute, before and after."""

    cpu: str
    cores: int
    threads: int
    load_before: float | None
    load_after: float | None
    governor: str | None


class TimeLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that a measurement is to decide: `measure` is a percentile, "speed" or "memory"."""

    measure: str
    batch: int
    value: float
