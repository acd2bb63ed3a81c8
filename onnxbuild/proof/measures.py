"""Error measures of one output against the reference, as values; knows neither limits nor how they are measured."""

from __future__ import annotations

import math

import msgspec


class WithinShare(msgspec.Struct, frozen=True, kw_only=True):
    """The share of elements with |x - r| <= atol + rtol |r|."""

    atol: float
    rtol: float
    share: float


class OutputMeasures(msgspec.Struct, frozen=True, kw_only=True):
    """How far one output is from the reference, over all elements of all samples.

    A float that is NaN or infinite is the text "nan", "inf" or "-inf". `cosine` is the worst sample's.
    `frontier` holds the (|x - r|, |r|) pairs that no other pair dominates (of many: their hull's): every elementwise
    limit without a share holds for all elements exactly when it holds for these, `max_abs` is finite and there are
    no `nan_mismatches` (elements of which only one is NaN; they turn the floats into "nan"). Equal infinities and
    paired NaNs differ by nothing. Relative measures are over the elements whose reference is not zero.
    `histogram` counts elements by floor(log10 |x - r|), from -12 or less to +3 or more, exact zeros in their own
    first bin (17 bins). Integers, strings and empty outputs have only `elements` and `unequal`.
    """

    name: str
    dtype: str
    elements: int
    unequal: int
    max_abs: float | str | None = None
    mean_abs: float | str | None = None
    p99_abs: float | str | None = None
    max_rel: float | str | None = None
    mean_rel: float | str | None = None
    p99_rel: float | str | None = None
    cosine: float | str | None = None
    sqnr_db: float | str | None = None
    argmax_agreement: float | None = None
    nan_mismatches: int = 0
    nonfinite: int = 0
    frontier: tuple[tuple[float, float], ...] = ()
    within: tuple[WithinShare, ...] = ()
    histogram: tuple[int, ...] = ()
    worst_sample: int | None = None


class MetricIntervals(msgspec.Struct, frozen=True, kw_only=True):
    """95 % intervals of a metric over other samples like these: (low, high), one for each kind of limit.

    `value` is the model's own; `drop` how much worse it is than the source, in the metric's unit, positive for worse;
    `ratio` the model's over the source's, None where the source's may be zero or less.
    """

    value: tuple[float, float]
    drop: tuple[float, float]
    ratio: tuple[float, float] | None
    resamples: int


def to_text(value: float | None) -> float | str | None:
    """Return `value` with NaN and infinities as the texts "nan", "inf" and "-inf", which JSON can hold."""
    if value is None:
        return None
    return float(value) if math.isfinite(value) else str(float(value))


def from_text(value: float | str) -> float:
    """Return the number that `to_text` wrote."""
    return float(value)
