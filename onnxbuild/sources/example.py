"""Example inputs that fit the declared dims, dtypes and ranges, the same each time; knows no framework."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from onnxbuild.recipe.types import Axis, Input

PREFERRED = (7, 11, 13, 5, 17, 19, 3, 23, 29, 2)
"""Sizes (in multiples) tried first: unlike the small powers of two that models have in them as constants."""


def example_sizes(axes: dict[str, Axis], inputs: Iterable[Input], avoid: Iterable[int] = ()) -> dict[str, int]:
    """Return one size for each dynamic axis, within its range and a multiple as declared.

    A tracer takes 0 and 1 for special and equal sizes for the same axis, so sizes are at least 2 and differ from
    each other, from the fixed dims and from `avoid` wherever the ranges leave the room.
    """
    taken = set(avoid) | {dim for value in inputs for dim in value.shape if isinstance(dim, int)}
    sizes: dict[str, int] = {}
    for name, axis in axes.items():
        sizes[name] = _size(axis, taken)
        taken.add(sizes[name])
    return sizes


def _size(axis: Axis, taken: set[int]) -> int:
    step = axis.multiple_of
    first = max(axis.min, 1) + -max(axis.min, 1) % step
    candidates = [step * count for count in PREFERRED]
    candidates += list(range(first, min(axis.max, first + 64 * step) + 1, step))
    fitting = [size for size in candidates if first <= size <= axis.max]
    above_one = [size for size in fitting if size > 1]
    distinct = [size for size in above_one if size not in taken]
    return (distinct or above_one or fitting or [first])[0]


def example_array(declared: Input, sizes: dict[str, int]) -> np.ndarray:
    """Return an array for one input: floats spread over `range` (else 0 to 1), integers over `range` (else 0 and 1).

    The values follow from the shape alone. Strings are the texts "0", "1" and so on.
    """
    shape = tuple(dim if isinstance(dim, int) else sizes[dim] for dim in declared.shape)
    count = int(np.prod(shape, dtype=np.int64))
    low, high = declared.range or (0.0, 1.0)
    if declared.dtype == "string":
        return np.array([str(index) for index in range(count)], dtype=object).reshape(shape)
    if declared.dtype == "bool":
        return np.equal(np.arange(count) % 2, 0).reshape(shape)
    dtype = np.dtype(declared.dtype)
    if np.issubdtype(dtype, np.integer):
        first, last = int(np.ceil(low)), int(np.floor(high))
        return (first + np.arange(count) % (last - first + 1)).astype(dtype).reshape(shape)
    # Steps of the golden ratio never repeat and cover the range evenly.
    spread = low + (high - low) * (np.arange(count) * 0.6180339887498949 % 1.0)
    array: np.ndarray = spread.astype(dtype).reshape(shape)
    return array
