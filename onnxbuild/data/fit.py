"""Fitting an array to an input's declaration: safe casts, checked by value, and dims; knows no files and no cutting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

from onnxbuild.base.diagnostics import StageFailure, did_you_mean
from onnxbuild.data.calls import DTYPES, INTEGERS, NARROW, STRING, dtype_name
from onnxbuild.recipe.types import Axis, Input

EXACT_IN_DOUBLE = 1 << 53
"""The integers up to which double precision holds each one."""


@dataclass
class Declared:
    """The recipe's inputs and dynamic axes, to which every call is fitted.

    `missing` counts, by array name, the missing strings that became empty ones: a tensor has no missing string.
    """

    inputs: tuple[Input, ...]
    axes: Mapping[str, Axis]
    missing: Counter[str] = field(default_factory=Counter)

    def fit(self, arrays: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
        """Return the inputs' arrays in their declared dtypes; `where` names the data in messages.

        Raises StageFailure (`data-does-not-fit`) naming the array, what is declared and what was found.
        """
        call: dict[str, np.ndarray] = {}
        sizes: dict[str, tuple[int, str]] = {}
        for declared in self.inputs:
            array = self.cast(arrays[declared.name], declared.dtype, f"{where}: '{declared.name}'", declared.name)
            self._check_dims(declared, array, array.shape, 0, sizes, where)
            call[declared.name] = array
        return call

    def check_rows(self, arrays: Mapping[str, np.ndarray], extra: int, where: str) -> None:
        """Check the dims of whole arrays before any is cut: all but axis 0, after `extra` more axes.

        Raises StageFailure (`data-does-not-fit`) like `fit`.
        """
        sizes: dict[str, tuple[int, str]] = {}
        for declared in self.inputs:
            array = arrays[declared.name]
            if array.ndim:
                self._check_dims(declared, array, array.shape[extra:], 1 - extra, sizes, where)

    def cast(self, array: np.ndarray, dtype: str, what: str, name: str) -> np.ndarray:
        """Return `array` in the declared dtype where that loses nothing but float precision; raises StageFailure."""
        if dtype == STRING:
            texts, missing = as_strings(array, what)
            self.missing[name] += missing
            return texts
        return cast_numbers(array, dtype, what)

    def _check_dims(
        self,
        declared: Input,
        array: np.ndarray,
        shape: tuple[int, ...],
        start: int,
        sizes: dict[str, tuple[int, str]],
        where: str,
    ) -> None:
        problem = self._wrong_dims(declared, shape, start, sizes)
        if problem:
            raise does_not_fit(f"{where}: '{declared.name}' is {describe(array)}, {problem}", declared)

    def _wrong_dims(
        self, declared: Input, shape: tuple[int, ...], start: int, sizes: dict[str, tuple[int, str]]
    ) -> str | None:
        if len(shape) != len(declared.shape):
            return f"of rank {len(shape)} where {len(declared.shape)} is declared"
        for dim, size in list(zip(declared.shape, shape, strict=True))[start:]:
            if isinstance(dim, int):
                if size != dim:
                    return f"with {size} where {dim} is declared"
                continue
            axis = self.axes[dim]
            if not axis.min <= size <= axis.max or size % axis.multiple_of:
                return f"with {size} along '{dim}', which {describe_axis(axis)}"
            known, by = sizes.setdefault(dim, (size, declared.name))
            if known != size:
                return f"with {size} along '{dim}', which is {known} in '{by}'"
        return None


def does_not_fit(message: str, declared: Input | None = None) -> StageFailure:
    """Return the failure for data that contradicts the recipe, with the declaration it contradicts."""
    if declared is not None:
        message = f"{message}; the recipe declares {declared.dtype}[{', '.join(map(str, declared.shape))}]"
    return StageFailure("data-does-not-fit", message, hint="change the data, or the input's declaration in the recipe")


def pick(arrays: Mapping[str, object], name: str, what: str) -> np.ndarray:
    """Return the array `name`; raises StageFailure (`data-lacks-array`) that says what there is."""
    if name in arrays:
        return as_array(arrays[name], f"{what}: '{name}'")
    near = did_you_mean(name, [str(key) for key in arrays])
    found = ", ".join(f"'{key}'" for key in sorted(map(str, arrays))[:20]) or "nothing"
    raise StageFailure("data-lacks-array", f"{what} has no array '{name}', only {found}", hint=near)


def as_array(value: object, what: str) -> np.ndarray:
    """Return anything array-like as an array, text as objects; raises StageFailure where that makes no array."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise does_not_fit(f"{what} is no array: {error}") from None
    if array.dtype.kind == "O" and not any(isinstance(v, str) for v in array.flat):
        try:
            array = np.array(array.tolist())
        except ValueError as error:
            raise does_not_fit(f"{what} is no array: {error}") from None
    return array


def describe(array: np.ndarray) -> str:
    """Return dtype and shape for people, such as "float32[64, 10]"."""
    dtype = STRING if array.dtype.kind in "OUT" else array.dtype.name
    return f"{dtype}[{', '.join(map(str, array.shape))}]"


def describe_axis(axis: Axis) -> str:
    """Return an axis's range as the end of a sentence."""
    step = f" in steps of {axis.multiple_of}" if axis.multiple_of > 1 else ""
    return f"is declared {axis.min} to {axis.max}{step}"


def as_strings(array: np.ndarray, what: str) -> tuple[np.ndarray, int]:
    """Return `array` as objects of `str`, and how many missing ones (None or NaN) became ""; raises StageFailure."""
    if array.dtype.kind not in "OUTS":
        raise does_not_fit(f"{what} is {describe(array)}, where strings are declared")
    texts, missing = np.empty(array.shape, object), 0
    flat = texts.reshape(-1)
    for i, value in enumerate(array.reshape(-1).tolist()):
        if value is None or value != value:  # NaN is how tables mark a missing value
            flat[i], missing = "", missing + 1
        elif isinstance(value, str):
            flat[i] = str(value)
        elif isinstance(value, bytes):
            flat[i] = _decode(value, what)
        else:
            raise does_not_fit(f"{what} holds {value!r} of type {type(value).__name__}, where strings are declared")
    return texts, missing


def cast_numbers(array: np.ndarray, dtype: str, what: str) -> np.ndarray:
    """Return `array` as `dtype`; only floats may lose precision, and nothing may overflow. Raises StageFailure."""
    target = DTYPES[dtype]
    try:
        source = dtype_name(array)
    except TypeError as error:
        raise does_not_fit(f"{what}: {error}") from None
    if source == dtype:
        return array.astype(target, copy=False)
    found, wanted = _kind(source), _kind(dtype)
    if (found, wanted) == ("float", "float"):
        return _cast_floats(array, target, what)
    if wanted == "float" and found in ("integer", "bool"):
        return _cast_exactly(array, target, what)
    if wanted == "integer" and found in ("integer", "bool"):
        low, high = _limits(dtype)
        return _cast_within(array, target, low, high, what)
    if wanted == "bool" and found == "integer":
        return _cast_within(array, target, 0, 1, what)
    raise does_not_fit(f"{what} is {describe(array)}, which cannot become {dtype} without loss")


def _kind(dtype: str) -> str:
    if dtype in (STRING, "bool"):
        return dtype
    return "integer" if dtype in INTEGERS or dtype in ("int4", "uint4") else "float"


def _limits(dtype: str) -> tuple[int, int]:
    find: Any = ml_dtypes.iinfo if dtype in NARROW else np.iinfo
    info = find(DTYPES[dtype])
    return int(info.min), int(info.max)


def _cast_floats(array: np.ndarray, target: np.dtype[np.generic], what: str) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        cast = array.astype(target)
    if np.any(np.isfinite(array) & ~np.isfinite(cast)):
        raise does_not_fit(f"{what} is {describe(array)} with values beyond the range of {target.name}")
    return cast


def _cast_exactly(array: np.ndarray, target: np.dtype[np.generic], what: str) -> np.ndarray:
    wide = array.astype(np.float64)
    cast = _cast_floats(wide, target, what)
    if np.any(np.abs(wide) > EXACT_IN_DOUBLE) or np.any(cast.astype(np.float64) != wide):
        raise does_not_fit(f"{what} is {describe(array)} with integers that {target.name} cannot hold exactly")
    return cast


def _cast_within(array: np.ndarray, target: np.dtype[np.generic], low: int, high: int, what: str) -> np.ndarray:
    if array.size:
        least, most = int(array.min()), int(array.max())
        if least < low or most > high:
            raise does_not_fit(
                f"{what} is {describe(array)} with values {least} to {most}; {target.name} ends at {high}"
            )
    return array.astype(target)


def _decode(value: bytes, what: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise does_not_fit(f"{what} holds bytes that are not UTF-8: {error}") from None
