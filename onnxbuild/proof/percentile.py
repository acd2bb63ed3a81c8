"""The 99th percentile of a stream of magnitudes in bounded memory; knows nothing of what they measure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHARE = 0.99
KEPT = 1 << 22
"""Values up to which the percentile is exact."""
_SHIFT = 52 - 10


class Percentile:
    """The smallest value that at least 99 % of all values do not exceed ("inverted CDF").

    Exact up to about four million values; beyond, values are counted in bins a thousandth wide, by the leading bits
    of their double (which order non-negative doubles as integers), and the result is the bin's lower end.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept, self._count, self._waiting = kept, 0, 0
        self._values: list[NDArray[np.float64]] = []
        self._bins: NDArray[np.int64] | None = None

    def add(self, values: NDArray[np.float64]) -> None:
        """Count non-negative `values`, infinity included, NaN excluded."""
        self._values.append(values)
        self._count += values.size
        self._waiting += values.size
        if self._waiting > self._kept:
            self._count_waiting()

    def result(self) -> float | None:
        """Return the percentile, or None without values."""
        if not self._count:
            return None
        rank = max(int(np.ceil(SHARE * self._count)), 1)
        if self._bins is None:
            return float(np.partition(np.concatenate(self._values), rank - 1)[rank - 1])
        self._count_waiting()
        found = np.searchsorted(np.cumsum(self._bins), rank)
        return float((np.array([found], np.int64) << _SHIFT).view(np.float64)[0])

    def _count_waiting(self) -> None:
        if self._bins is None:
            self._bins = np.zeros((2047 << 10) + 1, np.int64)
        for values in self._values:
            self._bins += np.bincount(np.abs(values).view(np.int64) >> _SHIFT, minlength=self._bins.size)
        self._values, self._waiting = [], 0
