"""The calls of several graphs that are kept in memory, of many of them some from all over; knows not what calls them.

Calls of one graph are bounded in number, those of all graphs together in bytes: the graph that holds most gives up
every second of its calls. One at least each graph keeps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Call = Mapping[str, np.ndarray]

MOST_CALLS = 256
MOST_BYTES = 100_000_000


class KeptCalls:
    """The calls of one graph; `beside` are those that share its bound in bytes, and it becomes one of them."""

    def __init__(self, beside: list[KeptCalls]) -> None:
        self.calls: list[Call] = []
        self.bytes = 0
        self._stride, self._number = 1, 0
        self._beside = beside
        beside.append(self)

    def note(self, call: Call) -> None:
        """Keep a call, unless it is one of those between two that are kept."""
        if self._number % self._stride == 0:
            self.calls.append(call)
            self.bytes += _size(call)
            if len(self.calls) > MOST_CALLS:
                self._thin()
            self._bound()
        self._number += 1

    def _bound(self) -> None:
        while sum(kept.bytes for kept in self._beside) > MOST_BYTES:
            several = [kept for kept in self._beside if len(kept.calls) > 1]
            if not several:
                return
            max(several, key=lambda kept: kept.bytes)._thin()

    def _thin(self) -> None:
        self.calls = self.calls[::2]
        self._stride *= 2
        self.bytes = sum(map(_size, self.calls))


def _size(call: Call) -> int:
    return sum(array.nbytes for array in call.values())
