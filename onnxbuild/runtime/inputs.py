"""Whether the arrays of a call are what the model was built for; costs some microseconds a call and runs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from onnxbuild.runtime.errors import InputError, PackageError
from onnxbuild.runtime.package import Axis, Value

STRING = "string"
_REMEMBERED = 1024
"""Combinations of shapes known to be right, at most."""


class Inputs:
    """The declared inputs, against which each call is held."""

    def __init__(self, values: Sequence[Value], axes: Mapping[str, Axis]) -> None:
        self._values, self._axes = tuple(values), axes
        self._dtypes = [(value.name, _dtype(value)) for value in values]
        self._texts = [value.name for value in values if value.dtype == STRING]
        self._names = frozenset(value.name for value in values)
        self._right: set[tuple[tuple[int, ...], ...]] = set()

    def check(self, call: Mapping[str, np.ndarray]) -> None:
        """Raise InputError, which tells everything that is wrong with the call, unless nothing is."""
        try:
            shapes = tuple([call[name].shape for name, _ in self._dtypes])
            right = shapes in self._right and len(call) == len(shapes)
            for name, dtype in self._dtypes if right else ():
                given = call[name]
                if (given.dtype is not dtype and given.dtype != dtype) or type(given) is not np.ndarray:
                    right = False
            for name in self._texts if right else ():
                if not _is_text(call[name]):
                    right = False
        except (KeyError, AttributeError, TypeError, IndexError):
            right = False
        if not right:
            self._look(call)

    def _look(self, call: Mapping[str, np.ndarray]) -> None:
        if not isinstance(call, Mapping):
            raise InputError(f"the call is a {type(call).__name__}, expected a mapping of arrays by the inputs' names")
        wrong = [*self._wrong_names(call), *self._wrong_arrays(call)]
        wrong = wrong or [*self._wrong_sizes(call)]
        if wrong:
            raise InputError("; ".join(wrong))
        if len(self._right) < _REMEMBERED:
            self._right.add(tuple(call[name].shape for name, _ in self._dtypes))

    def _wrong_names(self, call: Mapping[str, np.ndarray]) -> Iterator[str]:
        for name in sorted(self._names - call.keys()):
            yield f"the input '{name}' is missing"
        for name in sorted(map(str, call.keys() - self._names)):
            expected = ", ".join(f"'{value.name}'" for value in self._values)
            yield f"there is no input '{name}', expected {expected}"

    def _wrong_arrays(self, call: Mapping[str, object]) -> Iterator[str]:
        for value, (name, dtype) in zip(self._values, self._dtypes, strict=True):
            if name not in call:
                continue
            given = call[name]
            if not isinstance(given, np.ndarray):
                yield f"'{name}' is a {type(given).__name__}, expected a numpy array {value}"
            elif value.dtype == STRING and given.dtype.kind != "U" and not (given.dtype == dtype and _is_text(given)):
                what = "holds other objects than str" if given.dtype == dtype else f"has dtype {given.dtype}"
                yield f"'{name}' {what}, expected strings (dtype object or str) {value}"
            elif value.dtype != STRING and given.dtype != dtype:
                yield f"'{name}' has dtype {given.dtype}, expected {value.dtype}"
            elif given.ndim != len(value.shape):
                yield f"'{name}' has shape {list(given.shape)}, expected {value}"

    def _wrong_sizes(self, call: Mapping[str, np.ndarray]) -> Iterator[str]:
        sizes: dict[str, tuple[str, int]] = {}
        for value in self._values:
            for number, (size, dim) in enumerate(zip(call[value.name].shape, value.shape, strict=True)):
                where = f"'{value.name}' has {size} in dimension {number}"
                if isinstance(dim, int) and size != dim:
                    yield f"{where}, expected {dim} ({value})"
                elif isinstance(dim, str):
                    if dim in self._axes and not self._axes[dim].takes(size):
                        yield f"{where}, expected {dim} of {self._axes[dim]}"
                    first, known = sizes.setdefault(dim, (value.name, size))
                    if known != size:
                        yield f"{where} and '{first}' has {known}, but both are {dim}"


def _is_text(array: np.ndarray) -> bool:
    return array.dtype.kind == "U" or all(type(item) is str for item in array.flat)


def _dtype(value: Value) -> np.dtype:
    if value.dtype == STRING:
        return np.dtype(object)
    try:
        return np.dtype(value.dtype)
    except TypeError:
        raise PackageError(f"the input '{value.name}' is {value.dtype}, which numpy has no arrays of") from None
