"""Columns of .csv files: one header line, commas, UTF-8, cells parsed as the recipe declares them; needs only numpy."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.calls import INTEGERS, STRING
from onnxbuild.data.fit import does_not_fit

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""Cells of a float column that mean no value, whatever their case; it becomes NaN."""
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_INTEGER_DTYPES = frozenset({*INTEGERS, "int4", "uint4"})


class CsvColumns(Mapping[str, np.ndarray]):
    """The columns of one .csv by header, as arrays of one dim.

    `dtypes` maps a column to its declared dtype; others (labels) are int64 where every cell is an integer, else
    float64 where every cell is a number or missing, else strings. Raises StageFailure naming line and column.
    """

    def __init__(self, file: Path, dtypes: Mapping[str, str]) -> None:
        self._name, self._dtypes = file.name, dtypes
        self._columns = _read_columns(file)

    def __getitem__(self, name: str) -> np.ndarray:
        cells = self._columns[name]
        dtype = self._dtypes.get(name)
        if dtype is None:
            return _infer(cells)
        if dtype == STRING:
            return _strings(cells)
        if dtype == "bool":
            return np.array(
                self._parse(name, cells, lambda cell: BOOLEANS[cell.strip().lower()], "a boolean"), np.bool_
            )
        if dtype in _INTEGER_DTYPES:
            return np.array(self._parse(name, cells, parse_integer, "an integer"), np.int64)
        return np.array(self._parse(name, cells, parse_float, "a number"), np.float64)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def _parse(self, name: str, cells: list[str], parse: Callable[[str], object], kind: str) -> list[object]:
        values: list[object] = []
        for number, cell in enumerate(cells):
            try:
                values.append(parse(cell))
            except (ValueError, KeyError):
                found = f"'{cell}' is not {kind}" if cell else f"the cell is empty where {kind} is declared"
                raise does_not_fit(
                    f"{self._name}, row {number + 1} below the header, column '{name}': {found}"
                ) from None
        return values


def parse_integer(cell: str) -> int:
    """Return the 64-bit integer in a cell; raises ValueError, also for Python's own 1_000."""
    value = int(cell)
    if "_" in cell or not -(1 << 63) <= value < 1 << 63:
        raise ValueError(cell)
    return value


def parse_float(cell: str) -> float:
    """Return the number in a cell, NaN where it says that there is none; raises ValueError."""
    text = cell.strip()
    if "_" in text:
        raise ValueError(cell)
    return float("nan") if text.lower() in MISSING else float(text)


def _read_columns(file: Path) -> dict[str, list[str]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, None)
            if not header:
                raise _unreadable(file.name, "it is empty, where a header line names the columns")
            if len(set(header)) != len(header):
                twice = sorted({name for name in header if header.count(name) > 1})
                raise _unreadable(file.name, f"the header names {', '.join(twice)} twice")
            columns: list[list[str]] = [[] for _ in header]
            for row in reader:
                if not row:
                    continue  # a blank line
                if len(row) != len(header):
                    raise _unreadable(
                        file.name, f"line {reader.line_num} has {len(row)} cells where the header has {len(header)}"
                    )
                for column, cell in zip(columns, row, strict=True):
                    column.append(cell)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise _unreadable(file.name, str(error)) from None
    return dict(zip(header, columns, strict=True))


def _infer(cells: list[str]) -> np.ndarray:
    for parse, dtype in ((parse_integer, np.int64), (parse_float, np.float64)):
        try:
            return np.array([parse(cell) for cell in cells], dtype)
        except ValueError:
            continue
    return _strings(cells)


def _strings(cells: list[str]) -> np.ndarray:
    array = np.empty(len(cells), object)
    array[:] = cells
    return array


def _unreadable(name: str, why: str) -> StageFailure:
    return StageFailure("data-unreadable", f"{name} cannot be read: {why}")
