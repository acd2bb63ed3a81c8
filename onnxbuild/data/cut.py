"""Cutting arrays into calls along axis 0 by the declared dims, the unit every kind of data ends as; knows no files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.calls import Call
from onnxbuild.data.fit import Declared, describe_axis, does_not_fit, pick
from onnxbuild.recipe.types import Axis, Input

ROWS_A_CALL, BYTES_A_CALL = 256, 16_000_000
"""The most a call takes of a dynamic axis 0: larger ones add memory and nothing to the proof."""
PROBE_ROWS = 4


@dataclass(frozen=True)
class Piece:
    """One call, its labels where the data has them, and how many samples it counts as."""

    call: dict[str, np.ndarray]
    labels: np.ndarray | None
    samples: int


@dataclass(frozen=True)
class Prepared:
    """Data ready to be written: `probe` None means the first pieces; `dropped` counts the rows that fit no call."""

    pieces: Iterator[Piece]
    probe: Sequence[Call] | None = None
    dropped: int = 0


@dataclass(frozen=True)
class Sizes:
    """The sizes that axis 0 of a call may have: multiples of `step` from `low` to `high`."""

    low: int
    high: int
    step: int = 1

    @classmethod
    def of(cls, axis: Axis) -> Sizes:
        """Return the sizes a dynamic axis allows."""
        return cls(axis.min, axis.max, axis.multiple_of)

    @property
    def smallest(self) -> int:
        """The smallest size, or one above `high` when there is none."""
        return max(-(-self.low // self.step), 1) * self.step

    def largest(self, limit: int) -> int:
        """Return the largest size up to `limit`, or 0 when there is none."""
        size = min(limit, self.high) // self.step * self.step
        return size if size >= max(self.low, 1) else 0

    def both(self, other: Sizes) -> Sizes:
        """Return the sizes that both allow."""
        return Sizes(max(self.low, other.low), min(self.high, other.high), math.lcm(self.step, other.step))

    def cut(self, rows: int, limit: int) -> list[slice]:
        """Return consecutive slices of up to `limit` rows; what is left at the end fits no call."""
        limit, start, slices = max(limit, self.smallest), 0, []
        while size := self.largest(min(limit, rows - start)):
            slices.append(slice(start, start + size))
            start += size
        return slices


def cut_arrays(
    arrays: Mapping[str, object], declared: Declared, labels: str | None, samples: int | None, what: str
) -> Prepared:
    """Cut a mapping of arrays into calls; `what` names the data in messages.

    Arrays of the declared rank are cut along axis 0, to sizes that the recipe allows; where all are of one rank
    more, each row is a call. An input of rank 0 may be one number for all calls. Raises StageFailure.
    """
    columns = {i.name: with_unit_dim(i, pick(arrays, i.name, what)) for i in declared.inputs}
    target = None if labels is None else pick(arrays, labels, what)
    extra = {_extra_rank(i, columns[i.name], what) for i in declared.inputs if i.shape or columns[i.name].ndim}
    if len(extra) > 1:
        raise does_not_fit(
            f"{what}: some arrays are of the declared rank and some of one more: "
            + ", ".join(f"'{name}' is of rank {array.ndim}" for name, array in columns.items())
        )
    declared.check_rows(columns, max(extra, default=0), what)
    cut = {name for name in columns if columns[name].ndim}
    rows = _common_rows({**{name: columns[name] for name in cut}, **({labels: target} if labels else {})}, what)
    if extra == {1}:
        return _one_call_a_row(columns, target, declared, min(rows, samples or rows), what)
    return _several_rows_a_call(columns, target, declared, (rows, min(rows, samples or rows)), what)


def _one_call_a_row(
    columns: dict[str, np.ndarray], target: np.ndarray | None, declared: Declared, rows: int, what: str
) -> Prepared:
    def pieces() -> Iterator[Piece]:
        for i in range(rows):
            found = {name: array[i] if array.ndim else array for name, array in columns.items()}
            call = declared.fit({name: np.asarray(value) for name, value in found.items()}, f"{what}, row {i}")
            yield Piece(call, None if target is None else np.asarray(target[i]), 1)

    return Prepared(pieces())


def _several_rows_a_call(
    columns: dict[str, np.ndarray], target: np.ndarray | None, declared: Declared, rows: tuple[int, int], what: str
) -> Prepared:
    sizes = _row_sizes(columns, declared, what)
    width = sum(array[:1].nbytes for array in columns.values() if array.ndim)
    slices = sizes.cut(rows[1], rows_a_call(width))
    if not slices:
        raise does_not_fit(f"{what} has {rows[1]} rows, too few for one call: {_demands(declared)}")

    def take(part: slice, to: Declared = declared) -> dict[str, np.ndarray]:
        found = {name: array[part] if array.ndim else array for name, array in columns.items()}
        return to.fit(found, f"{what}, rows {part.start} to {part.stop - 1}")

    def pieces() -> Iterator[Piece]:
        for part in slices:
            yield Piece(take(part), None if target is None else target[part], part.stop - part.start)

    few = {sizes.smallest, sizes.largest(PROBE_ROWS), sizes.largest(min(rows[0], 2 * sizes.smallest))}
    apart = Declared(declared.inputs, declared.axes)  # the probe's missing strings are those of the calls
    probe = [take(slice(0, size), apart) for size in sorted(few) if 0 < size <= rows[0]]
    return Prepared(pieces(), probe, rows[1] - slices[-1].stop)


def rows_a_call(row_bytes: int) -> int:
    """Return the most rows of `row_bytes` each that a call should take."""
    return max(1, min(ROWS_A_CALL, BYTES_A_CALL // max(row_bytes, 1)))


def _row_sizes(columns: dict[str, np.ndarray], declared: Declared, what: str) -> Sizes:
    """Return what all declarations of axis 0 allow together; an axis that recurs elsewhere has its size there."""
    sizes = Sizes(1, 1 << 62)
    for i in declared.inputs:
        if not i.shape:
            continue
        first = i.shape[0]
        sizes = sizes.both(Sizes(first, first) if isinstance(first, int) else Sizes.of(declared.axes[first]))
        for other in declared.inputs:
            for dim, size in list(zip(other.shape, columns[other.name].shape, strict=False))[1:]:
                if dim == first and isinstance(dim, str):
                    sizes = sizes.both(Sizes(size, size))
    if sizes.smallest > sizes.high:
        raise does_not_fit(f"{what}: no size of axis 0 fits every input: {_demands(declared)}")
    return sizes


def _demands(declared: Declared) -> str:
    dims = {i.shape[0]: i.name for i in declared.inputs if i.shape}
    return ", ".join(
        f"'{name}' takes {dim} rows a call" if isinstance(dim, int) else f"'{dim}' {describe_axis(declared.axes[dim])}"
        for dim, name in dims.items()
    )


def with_unit_dim(declared: Input, value: np.ndarray) -> np.ndarray:
    """Return a column [n] for an input [rows, 1] as [n, 1]: what tables hold is no matrix."""
    if len(declared.shape) == 2 and declared.shape[1] == 1 and value.ndim == 1:
        return value.reshape(-1, 1)
    return value


def _extra_rank(declared: Input, array: np.ndarray, what: str) -> int:
    extra = array.ndim - len(declared.shape)
    if extra not in (0, 1):
        raise does_not_fit(f"{what}: '{declared.name}' is of rank {array.ndim}, shape {list(array.shape)}", declared)
    return extra


def _common_rows(arrays: Mapping[str, np.ndarray | None], what: str) -> int:
    counts = {name: (array.shape[0] if array.ndim else 1) for name, array in arrays.items() if array is not None}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"'{name}' has {count}" for name, count in counts.items())
        raise does_not_fit(f"{what}: the arrays do not agree in rows: {listed}")
    rows = next(iter(counts.values()), 1)
    if rows == 0:
        raise StageFailure("data-is-empty", f"{what} has no rows")
    return rows
