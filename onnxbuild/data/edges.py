"""Calls at the edges of every dynamic axis, cut or repeated from the data's own; knows no model.

Each axis is taken to its smallest and its largest size and to one between, with the others at their smallest; then all
to their largest at once, the joint corner. So that trying them never costs much more than trying the data, their inputs
together hold at most as many bytes as the data's (but LEAST are always allowed, and never more than MOST); the smallest
sizes come first and are made in any case.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxbuild.base.codec import decode, encode
from onnxbuild.data.calls import Call, Calls, read_calls, write_calls
from onnxbuild.data.cut import Sizes
from onnxbuild.data.edge import Edge, SkippedEdge
from onnxbuild.data.fit import Declared
from onnxbuild.data.random_calls import row_axis
from onnxbuild.recipe.types import Axis

LEAST, MOST = 500_000, 64_000_000
"""Bounds of the budget in bytes of inputs, whatever the data holds."""
LOOKED_AT = 1000
"""The first so many calls of the data are considered."""
INDEX = "edges.json"
Sized = tuple[Edge, Call]


@dataclass(frozen=True)
class Edges:
    """Calls made at edges, the joint corner last, and the edges left out."""

    made: Sequence[Sized]
    skipped: Sequence[SkippedEdge]


def make_edges(calls: Calls, declared: Declared) -> Edges:
    """Return calls at the edges of the declared axes, of rows of `calls`; none where no axis is dynamic."""
    if not calls or not declared.axes:
        return Edges((), ())
    cutter = _Cutter(calls, declared)
    made: list[Sized] = []
    skipped: list[SkippedEdge] = []
    left = min(max(cutter.bytes_of_data, LEAST), MOST)
    for number, edge in enumerate(list_edges(declared.axes)):
        size = cutter.bytes_at(edge)
        if size > left and number > 0:
            skipped.append(SkippedEdge(edge=edge, bytes=size))
            continue
        left -= size
        made.append((edge, cutter.cut(edge)))
    return Edges(made, skipped)


def list_edges(axes: Mapping[str, Axis]) -> list[Edge]:
    """Return the edges in the order in which they are tried: all axes at their smallest, between, largest, corner."""
    sizes = {name: Sizes.of(axis) for name, axis in axes.items()}
    small = {name: size.smallest for name, size in sizes.items()}
    large = {name: size.largest(size.high) for name, size in sizes.items()}
    wanted: dict[tuple[int, ...], Edge] = {}

    def add(chosen: dict[str, int], *, corner: bool = False) -> None:
        wanted.setdefault(tuple(chosen.values()), Edge(sizes=chosen, corner=corner))

    add(small)
    for name, size in sizes.items():
        add({**small, name: between(size)})
    for name in sizes:
        add({**small, name: large[name]})
    add(large, corner=True)
    return list(wanted.values())


def call_of_rows(calls: Calls, declared: Declared, rows: int) -> Call:
    """Return a call of so many rows, its other axes as in the data's first call; without a batch axis that call."""
    axis = row_axis(declared)
    if axis is None:
        return calls[0]
    cutter = _Cutter(calls, declared)
    return cutter.cut(Edge(sizes={**cutter.sizes(0), axis: rows}))


def between(sizes: Sizes) -> int:
    """Return a size near the geometric middle: odd where steps allow, because halves and tiles hide in even ones."""
    low, high = sizes.smallest, sizes.largest(sizes.high)
    count = math.isqrt((low // sizes.step) * (high // sizes.step)) | 1
    return min(max(count * sizes.step, low), high)


def write_edges(folder: Path, edges: Iterable[Sized]) -> None:
    """Write calls with the sizes that each was made for."""
    kept = list(edges)
    write_calls(folder, (call for _, call in kept))
    (folder / INDEX).write_bytes(encode([edge for edge, _ in kept]))


def read_edges(folder: Path) -> list[Sized]:
    """Return what `write_edges` wrote, in order, the joint corner last; arrays are read when asked for."""
    edges = decode((folder / INDEX).read_bytes(), list[Edge])
    return list(zip(edges, read_calls(folder), strict=True))


class _Cutter:
    """Makes a call of given sizes of those in the data that come nearest: joined along the rows, cut and repeated."""

    def __init__(self, calls: Calls, declared: Declared) -> None:
        self._calls, self._inputs = calls, declared.inputs
        self._rows = row_axis(declared)
        self._dims = [calls.dims(i) for i in range(min(len(calls), LOOKED_AT))]
        self._width = {name: array.nbytes / max(array.size, 1) for name, array in calls[0].items()}
        self.bytes_of_data = sum(self._bytes(dims) for dims in self._dims)

    def bytes_at(self, edge: Edge) -> int:
        """Return the bytes of a call of these sizes."""
        wanted = {i.name: tuple(d if isinstance(d, int) else edge.sizes[d] for d in i.shape) for i in self._inputs}
        return self._bytes(wanted)

    def cut(self, edge: Edge) -> dict[str, np.ndarray]:
        """Return a call of these sizes; of the data's, the one whose other axes come nearest gives the first rows."""
        base = min(range(len(self._dims)), key=lambda index: self._distance(edge, index))
        parts = [self._calls[index] for index in self._joinable(edge, base)]
        call = {}
        for declared in self._inputs:
            arrays = [part[declared.name] for part in parts]
            array = np.concatenate(arrays) if len(arrays) > 1 and declared.shape else arrays[0]
            for position, dim in enumerate(declared.shape):
                if isinstance(dim, str):
                    array = np.take(array, np.arange(edge.sizes[dim]) % array.shape[position], axis=position)
            call[declared.name] = array
        return call

    def _bytes(self, dims: Mapping[str, tuple[int, ...]]) -> int:
        return round(sum(math.prod(shape) * self._width[name] for name, shape in dims.items()))

    def sizes(self, index: int) -> dict[str, int]:
        """Return the size of each dynamic axis in a call of the data."""
        dims = self._dims[index]
        return {
            dim: size
            for declared in self._inputs
            for dim, size in zip(declared.shape, dims[declared.name], strict=True)
            if isinstance(dim, str)
        }

    def _distance(self, edge: Edge, index: int) -> float:
        sizes = self.sizes(index)
        return sum(abs(math.log(size / edge.sizes[name])) for name, size in sizes.items() if name != self._rows)

    def _joinable(self, edge: Edge, base: int) -> Iterator[int]:
        """Yield `base` and the calls after it (then from the start) that can be joined to it, until rows suffice."""
        yield base
        if self._rows is None:
            return
        first, rows = self.sizes(base), self.sizes(base)[self._rows]
        for index in itertools.chain(range(base + 1, len(self._dims)), range(base)):
            if rows >= edge.sizes[self._rows]:
                return
            sizes = self.sizes(index)
            if all(sizes[name] == size for name, size in first.items() if name != self._rows):
                rows += sizes[self._rows]
                yield index
