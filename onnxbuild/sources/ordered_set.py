"""A set that keeps insertion order, with the methods that Python's own has; knows nothing of what it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet
from typing import Any


class OrderedSet(MutableSet[Any]):
    """Stands in for `set` where code that we do not own iterates over one and its order decides the result."""

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._items = dict.fromkeys(items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"OrderedSet({list(self._items)!r})"

    def add(self, value: Any) -> None:
        """Add one item at the end, unless it is there."""
        self._items[value] = None

    def discard(self, value: Any) -> None:
        """Remove one item where it is there."""
        self._items.pop(value, None)

    def copy(self) -> OrderedSet:
        """Return a set with the same items in the same order."""
        return OrderedSet(self)

    def update(self, *others: Iterable[Any]) -> None:
        """Add the items of each of `others`."""
        for other in others:
            self._items.update(dict.fromkeys(other))

    def union(self, *others: Iterable[Any]) -> OrderedSet:
        """Return these items, then those of each of `others`."""
        result = self.copy()
        result.update(*others)
        return result

    def intersection(self, *others: Iterable[Any]) -> OrderedSet:
        """Return the items that are in all of `others`, in this set's order."""
        wanted = [dict.fromkeys(other) for other in others]
        return OrderedSet(item for item in self if all(item in other for other in wanted))

    def difference(self, *others: Iterable[Any]) -> OrderedSet:
        """Return the items that are in none of `others`, in this set's order."""
        unwanted = [dict.fromkeys(other) for other in others]
        return OrderedSet(item for item in self if not any(item in other for other in unwanted))

    def issubset(self, other: Iterable[Any]) -> bool:
        """Tell whether every item is in `other`."""
        known = dict.fromkeys(other)
        return all(item in known for item in self)

    def issuperset(self, other: Iterable[Any]) -> bool:
        """Tell whether every item of `other` is in this set."""
        return all(item in self for item in other)
