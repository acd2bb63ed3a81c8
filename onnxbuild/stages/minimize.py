"""Making a list shorter while something stays true of it, in a bounded number of tries; knows not what.

As failing inputs are made smaller by delta debugging (Zeller and Hildebrandt 2002), for lists whose order matters:
the end goes first, then the beginning, then ever smaller groups between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Holds = Callable[[Sequence[int]], bool]


def minimize(items: Sequence[int], holds: Holds, tries: int) -> list[int]:
    """Return a part of `items`, in order, of which `holds` is true; it is taken to be true of them all."""
    bounded = _Bounded(holds, tries)
    kept = list(items)
    kept = kept[: _shortest(len(kept), lambda size: bounded(kept[:size]))]
    kept = kept[len(kept) - _shortest(len(kept), lambda size: bounded(kept[len(kept) - size :])) :]
    chunk = len(kept) // 2
    while chunk and bounded.left:
        start = 0
        while start < len(kept) and bounded.left:
            fewer = kept[:start] + kept[start + chunk :]
            if fewer and bounded(fewer):
                kept = fewer
            else:
                start += chunk
        chunk //= 2
    return kept


class _Bounded:
    """Asks so many times; after that nothing holds."""

    def __init__(self, holds: Holds, tries: int) -> None:
        self._holds, self.left = holds, tries

    def __call__(self, items: Sequence[int]) -> bool:
        if not self.left:
            return False
        self.left -= 1
        return self._holds(items)


def _shortest(size: int, holds: Callable[[int], bool]) -> int:
    """Return, found by halving, a size at which it holds and one below which it does not; at `size` it does."""
    below = 0
    while size - below > 1:
        middle = (below + size) // 2
        if holds(middle):
            size = middle
        else:
            below = middle
    return size
