"""Generated calls: seeded numbers in the declared ranges, at several sizes of the dynamic axes; knows no files."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.calls import DTYPES, INTEGERS, STRING
from onnxbuild.data.cut import PROBE_ROWS, Piece, Prepared, Sizes, rows_a_call
from onnxbuild.data.fit import Declared, cast_numbers
from onnxbuild.recipe.types import Axis, Input, RandomData

OTHER_AXES = (64, 128)
"""Sizes up to which dynamic axes other than the rows' are tried, besides their smallest."""


def generate(data: RandomData, declared: Declared) -> Prepared:
    """Return calls of generated numbers that hold `samples` rows in all, or so many calls where axis 0 is no row.

    Floats are uniform in `range` or standard normal, integers in `range` or [0, 1], both ends included. Raises
    StageFailure (`random-strings`): text comes only from data.
    """
    strings = [i.name for i in declared.inputs if i.dtype == STRING]
    if strings:
        listed = ", ".join(f"'{name}'" for name in strings)
        raise StageFailure(
            "random-strings", f"no strings can be generated for {listed}", hint="name a file or a loader under `data`"
        )
    return Prepared(_pieces(data, declared))


def _pieces(data: RandomData, declared: Declared) -> Iterator[Piece]:
    # RandomState's streams never change between numpy releases; those of Generator may.
    random = np.random.RandomState(data.seed)
    axis = row_axis(declared)
    others = {name: itertools.cycle(_some_sizes(a)) for name, a in declared.axes.items() if name != axis}
    for rows, samples in _row_counts(data.samples, declared, axis):
        dims = {name: next(sizes) for name, sizes in others.items()}
        if axis is not None:
            dims[axis] = rows
        call = {i.name: _array(random, i, tuple(dims.get(str(d), d) for d in i.shape)) for i in declared.inputs}
        yield Piece(declared.fit(call, "random data"), None, samples)


def row_axis(declared: Declared) -> str | None:
    """Return the dynamic axis that is axis 0 of every input that has one, or None."""
    firsts = {i.shape[0] for i in declared.inputs if i.shape}
    first = firsts.pop() if len(firsts) == 1 else None
    return first if isinstance(first, str) else None


def _row_counts(samples: int, declared: Declared, axis: str | None) -> Iterator[tuple[int, int]]:
    """Yield the rows of each call and the samples it counts as: the smallest call, a small one, then large ones."""
    firsts = {i.shape[0] for i in declared.inputs if i.shape}
    if axis is None:
        fixed = firsts.pop() if len(firsts) == 1 else 1
        assert isinstance(fixed, int)
        yield from ((fixed, fixed) for _ in range(-(-samples // max(fixed, 1))))
        return
    sizes = Sizes.of(declared.axes[axis])
    bound = max(rows_a_call(_row_bytes(declared)), sizes.smallest)
    wanted = iter((sizes.smallest, sizes.largest(PROBE_ROWS) or sizes.smallest))
    left = samples
    while left > 0:
        rows = sizes.largest(min(left, next(wanted, bound))) or sizes.smallest
        yield rows, rows
        left -= rows


def _row_bytes(declared: Declared) -> int:
    return sum(
        DTYPES[i.dtype].itemsize
        * math.prod(d if isinstance(d, int) else min(declared.axes[d].max, OTHER_AXES[-1]) for d in i.shape[1:])
        for i in declared.inputs
    )


def _some_sizes(axis: Axis) -> list[int]:
    sizes = Sizes.of(axis)
    middle = (axis.min + axis.max) // 2
    tried = (sizes.smallest, sizes.largest(min(middle, OTHER_AXES[0])), sizes.largest(OTHER_AXES[1]))
    return sorted({size for size in tried if size})


def _array(random: np.random.RandomState, declared: Input, shape: tuple[int | str, ...]) -> np.ndarray:
    dims = tuple(int(d) for d in shape)
    what = f"random data: '{declared.name}'"
    if declared.dtype == "bool":
        return np.asarray(random.randint(0, 2, dims) > 0)
    if declared.dtype in INTEGERS or declared.dtype in ("int4", "uint4"):
        low, high = (0, 1) if declared.range is None else (math.ceil(declared.range[0]), math.floor(declared.range[1]))
        # The generator's own bound is one past the highest, within 64 bits.
        return cast_numbers(
            np.asarray(random.randint(low, min(high, (1 << 63) - 2) + 1, dims, np.int64)), declared.dtype, what
        )
    values = random.standard_normal(dims) if declared.range is None else random.uniform(*declared.range, dims)
    return cast_numbers(np.asarray(values), declared.dtype, what)
