"""Columns of .csv and .parquet files as far as a check needs them: names, rows, types and missing values."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from onnxbuild.recipe.checks.arrays import Array, DataError

MOST_ROWS = 200_000
_MISSING = frozenset({"", "nan", "NaN", "NA", "N/A", "null", "NULL", "None"})


def read_table(path: Path, wanted: Mapping[str, str], labels: str | None) -> dict[str, Array]:
    """Return the columns by name, with types seen in those of `wanted` (input name to dtype); raises DataError."""
    if path.name.endswith(".parquet"):
        return _read_parquet(path, {*wanted, *([labels] if labels else [])})
    return _read_csv(path, wanted, labels)


class _Column:
    """What the cells of one column turn out to be."""

    def __init__(self) -> None:
        self.rows, self.first_missing = 0, None
        self.is_int, self.is_float = True, True

    rows: int
    first_missing: int | None

    def add(self, cell: str) -> None:
        if cell.strip() in _MISSING:
            self.first_missing = self.rows if self.first_missing is None else self.first_missing
        elif self.is_float:
            try:
                number = float(cell)
                self.is_int &= math.isfinite(number) and number.is_integer()
            except ValueError:
                self.is_int = self.is_float = self.is_float and cell.strip().lower() in ("true", "false")
        self.rows += 1

    def array(self, declared: str | None) -> Array:
        if declared == "string":
            return Array("string", (self.rows,), lambda: None)
        dtype = "int64" if self.is_int else "float64" if self.is_float else "string"
        return Array(dtype, (self.rows,), lambda: self.first_missing)


def _read_csv(path: Path, wanted: Mapping[str, str], labels: str | None) -> dict[str, Array]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            names = next(reader, None)
            if not names:
                raise DataError("data-empty", "it is empty")
            columns = [_Column() for _ in names]
            for row in reader:
                if not row:
                    continue
                if len(row) != len(names):
                    raise DataError("unreadable-data", f"line {reader.line_num} has {len(row)} cells, not {len(names)}")
                for column, cell in zip(columns, row, strict=True):
                    column.add(cell)
                if columns[0].rows >= MOST_ROWS:
                    break
    except UnicodeDecodeError:
        raise DataError("unreadable-data", "it is not UTF-8 text", "save it as UTF-8") from None
    except (OSError, csv.Error) as error:
        raise DataError("unreadable-data", f"it cannot be read: {error}") from None
    return {
        name: column.array(wanted.get(name) if name != labels else None)
        for name, column in zip(names, columns, strict=True)
    }


def _read_parquet(path: Path, names: set[str]) -> dict[str, Array]:
    """Read the footer, and the wanted columns for missing values; raises DataError without pyarrow too."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        hint = "pip install 'onnxbuild[sklearn]'"
        raise DataError("missing-extra", "reading .parquet needs pyarrow, which is not installed", hint) from None
    try:
        table = pq.ParquetFile(path)
        schema, rows = table.schema_arrow, table.metadata.num_rows
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError("unreadable-data", f"it cannot be read: {error}") from None
    arrays = {}
    for field in schema:
        dtype = _arrow_dtype(str(field.type))
        missing = None
        if field.name in names and dtype != "string":
            missing = _first_missing(table, field.name)
        arrays[field.name] = Array(dtype, (rows,), lambda missing=missing: missing)  # type: ignore[misc]
    return arrays


def _arrow_dtype(name: str) -> str:
    renamed = {"double": "float64", "float": "float32", "halffloat": "float16", "large_string": "string"}
    return renamed.get(name, "string" if name.startswith("dictionary<values=string") else name)


def _first_missing(table: object, column: str) -> int | None:
    import pyarrow.compute as pc

    done = 0
    for batch in table.iter_batches(batch_size=65536, columns=[column]):  # type: ignore[attr-defined]  # untyped library
        bad = pc.is_null(batch.column(0), nan_is_null=True)
        found = pc.index(bad, True).as_py()
        if found >= 0:
            return done + int(found)
        done += batch.num_rows
        if done >= MOST_ROWS:
            break
    return None
