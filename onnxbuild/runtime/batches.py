"""Any number of rows as calls of sizes that a model takes; runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxbuild.runtime.errors import InputError
from onnxbuild.runtime.package import Axis, Value

Arrays = Mapping[str, np.ndarray]
PIECES = "a mapping of arrays by the inputs' names, or an iterable of such"


@dataclass(frozen=True)
class Batch:
    """One call; its outputs' first `rows` rows count, the others were added to fill it."""

    call: Arrays
    rows: int

    @property
    def is_padded(self) -> bool:
        """Whether rows were added."""
        return any(array.shape[0] > self.rows for array in self.call.values() if array.ndim)


def batch_axis(inputs: Sequence[Value], outputs: Sequence[Value]) -> str:
    """Return the dynamic axis that comes first in all outputs and in at least one input. Raises InputError."""
    names = {value.shape[0] if value.shape else None for value in outputs}
    (name,) = names if len(names) == 1 else (None,)
    if not isinstance(name, str) or not any(value.shape and value.shape[0] == name for value in inputs):
        shapes = ", ".join(f"'{value.name}' {value}" for value in (*inputs, *outputs))
        raise InputError(f"rows cannot be split and joined: no dynamic axis comes first in the outputs ({shapes})")
    return name


def cut(rows: int, axis: Axis) -> list[int]:
    """Return sizes of calls that hold `rows` rows in order; the last one may have room for more than are left.

    Each is as large as the axis allows, but the last holds the rest, and the one before it gives it what its minimum
    asks for. Both ends of a range are multiples of its step: recipes are held to it.
    """
    largest, least, step = axis.max, max(axis.min, axis.multiple_of), axis.multiple_of
    sizes = [largest] * (rows // largest)
    rest = rows % largest + -(rows % largest) % step
    if rest == 0 and sizes:
        return sizes
    lacks = least - rest
    if lacks > 0 and sizes and largest - lacks >= least:
        sizes[-1] -= lacks
    return [*sizes, max(rest, least)]


class Cutter:
    """Cuts arrays along the batch axis; inputs without it go whole into every call."""

    def __init__(self, inputs: Sequence[Value], outputs: Sequence[Value], axes: Mapping[str, Axis]) -> None:
        self._axis = batch_axis(inputs, outputs)
        self._cut = [value.name for value in inputs if value.shape and value.shape[0] == self._axis]
        for value in inputs:
            if self._axis in value.shape[1:]:
                raise InputError(f"rows cannot be split: '{value.name}' {value} has {self._axis} not first")
        self._bounds = axes[self._axis]

    def batches(self, pieces: Iterable[Arrays]) -> Iterator[Batch]:
        """Yield the calls of each piece in turn. Raises InputError for pieces that have no rows to cut."""
        for piece in pieces:
            rows = self._rows(piece)
            start = 0
            for size in cut(rows, self._bounds):
                kept = min(size, rows - start)
                part = {name: _part(piece[name], start, kept, size) for name in self._cut}
                yield Batch({**piece, **part}, kept)
                start += kept

    def refilled(self, batch: Batch) -> Batch:
        """Return a padded batch with zeros (empty strings) in the rows that were added."""
        call = dict(batch.call)
        for name in self._cut:
            call[name] = filled = call[name].copy()
            filled[batch.rows :] = "" if filled.dtype.kind in "OU" else 0
        return Batch(call, batch.rows)

    def _rows(self, piece: Arrays) -> int:
        if not isinstance(piece, Mapping):
            raise InputError(f"a piece is a {type(piece).__name__}; expected is {PIECES}")
        counts: dict[str, int] = {}
        for name in self._cut:
            if name not in piece:
                raise InputError(f"the input '{name}' is missing")
            if not isinstance(piece[name], np.ndarray) or not piece[name].ndim:
                raise InputError(f"'{name}' must be a numpy array with {self._axis} as its first dimension")
            counts[name] = piece[name].shape[0]
        if len(set(counts.values())) > 1:
            said = ", ".join(f"'{name}' {count}" for name, count in counts.items())
            raise InputError(f"the inputs differ in their number of rows: {said}")
        return next(iter(counts.values()))


def join(outputs: Sequence[Value], parts: Sequence[Sequence[np.ndarray]]) -> dict[str, np.ndarray]:
    """Return each output's parts as one array. Raises InputError when their other dimensions differ."""
    joined = {}
    for value, arrays in zip(outputs, zip(*parts, strict=True), strict=True):
        try:
            joined[value.name] = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
        except ValueError:
            shapes = " and ".join(sorted({str(list(array.shape[1:])) for array in arrays}))
            raise InputError(f"the rows of '{value.name}' cannot be joined: their shapes are {shapes}") from None
    return joined


def _part(array: np.ndarray, start: int, rows: int, size: int) -> np.ndarray:
    """Return `rows` rows, filled up to `size` with copies of the last of them."""
    part = array[start : start + rows]
    if rows == size:
        return part
    last = part[-1:] if rows else np.full((1, *array.shape[1:]), "" if array.dtype.kind in "OU" else 0, array.dtype)
    return np.concatenate([part, np.repeat(last, size - rows, axis=0)])
