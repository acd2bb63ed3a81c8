"""One combination of sizes of the dynamic axes at which a model is tried, as a value; knows no arrays and no model."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """A call's size along each dynamic axis; `corner` where all of several axes are at their largest."""

    sizes: dict[str, int]
    corner: bool = False

    @property
    def name(self) -> str:
        """The sizes as people read them, such as "batch 1" or "batch 64, length 512"."""
        return ", ".join(f"{name} {size}" for name, size in self.sizes.items())


class SkippedEdge(msgspec.Struct, frozen=True, kw_only=True):
    """An edge that no call was made for: it would take `bytes` of inputs, more than the budget leaves."""

    edge: Edge
    bytes: int


def blame(edge: Edge, sound: Iterable[Edge]) -> str:
    """Return the sizes that make `edge` a bad one as far as the `sound` edges tell: those that no sound one has."""
    good = {pair for other in sound for pair in other.sizes.items()}
    suspects = {name: size for name, size in edge.sizes.items() if (name, size) not in good}
    return Edge(sizes=suspects or edge.sizes).name
