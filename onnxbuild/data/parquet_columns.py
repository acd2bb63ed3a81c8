"""Columns of .parquet files through pyarrow; lists of equal length become further dims; knows no recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.fit import does_not_fit

INSTALL = "pip install 'onnxbuild[sklearn]'"


class ParquetColumns(Mapping[str, np.ndarray]):
    """The columns of one .parquet by name, each read when asked for; a missing number is NaN, a missing string None.

    Raises StageFailure: `missing-extra` without pyarrow, `data-unreadable`, `data-does-not-fit` for ragged lists.
    """

    def __init__(self, file: Path) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ModuleNotFoundError:
            message = f"{file.name}: reading .parquet needs pyarrow, which is not installed"
            raise StageFailure("missing-extra", message, hint=INSTALL) from None
        self._name, self._errors = file.name, (pyarrow.ArrowException, OSError)
        try:
            self._file = pyarrow.parquet.ParquetFile(file)
        except self._errors as error:
            raise self._unreadable(error) from None
        self._names = tuple(self._file.schema_arrow.names)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        try:
            column = self._file.read(columns=[name]).column(name)
            return _to_array(column.combine_chunks(), f"{self._name}: '{name}'")
        except self._errors as error:
            raise self._unreadable(error) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _unreadable(self, error: Exception) -> StageFailure:
        return StageFailure("data-unreadable", f"{self._name} cannot be read: {error}", tool="pyarrow")


def _to_array(column: Any, what: str) -> np.ndarray:
    """Return an arrow array as numpy's, nested lists as dims."""
    from pyarrow import compute, types

    kind = column.type
    if types.is_dictionary(kind):
        column = column.dictionary_decode()
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        count, inner = len(column), column.flatten()
        if column.null_count or len(compute.unique(compute.list_value_length(column))) > 1:
            raise does_not_fit(f"{what} holds lists of differing lengths, which make no array")
        flat = _to_array(inner, what)
        return flat.reshape(count, len(flat) // max(count, 1), *flat.shape[1:])
    if types.is_integer(kind) and column.null_count:
        column = column.cast("float64")
    array: np.ndarray = column.to_numpy(zero_copy_only=False)
    return array
