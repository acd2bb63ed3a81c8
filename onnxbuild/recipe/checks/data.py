"""Data files against the inputs they are for: arrays there, types, shapes, lengths, labels and NaN; runs no loader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxbuild.base.diagnostics import did_you_mean
from onnxbuild.recipe.checks.arrays import Array, DataError, read_arrays
from onnxbuild.recipe.checks.tables import read_table
from onnxbuild.recipe.types import Axis, Input

ARRAYS = (".npz", ".safetensors")
TABLES = (".csv", ".parquet")
MOST_FILES = 1000


@dataclass(frozen=True)
class DataProblem:
    """One thing wrong with a data file; `about_labels` when the recipe's `labels` is to blame."""

    code: str
    message: str
    hint: str | None = None
    about_labels: bool = False


def check_data(
    path: Path, inputs: Sequence[Input], axes: Mapping[str, Axis], labels: str | None, *, allows_nan: bool
) -> Iterator[DataProblem]:
    """Yield what is wrong with the data at `path`. `labels` names the labels' array, None when none is needed."""
    if path.is_dir():
        yield from _check_folder(path, inputs, axes, labels, allows_nan=allows_nan)
        return
    if not path.name.endswith((*ARRAYS, *TABLES)):
        hint = "a folder of .npz, or {loader: file.py:name} for anything else"
        yield DataProblem("wrong-extension", f"data end in {', '.join((*ARRAYS, *TABLES))}", hint)
        return
    try:
        if path.name.endswith(ARRAYS):
            arrays = read_arrays(path)
            yield from _check_arrays(arrays, inputs, axes, labels, allows_nan=allows_nan, one_call=False)
        else:
            arrays = read_table(path, {v.name: v.dtype for v in inputs}, labels)
            yield from _check_columns(arrays, inputs, labels, allows_nan=allows_nan)
    except DataError as error:
        yield DataProblem(error.code, str(error), error.hint)


def _check_folder(
    path: Path, inputs: Sequence[Input], axes: Mapping[str, Axis], labels: str | None, *, allows_nan: bool
) -> Iterator[DataProblem]:
    files = sorted(path.glob("*.npz"))
    if not files:
        yield DataProblem("data-empty", "the folder holds no .npz file")
    for file in files[:MOST_FILES]:
        try:
            arrays = read_arrays(file)
            problems = list(_check_arrays(arrays, inputs, axes, labels, allows_nan=allows_nan, one_call=True))
        except DataError as error:
            problems = [DataProblem(error.code, str(error), error.hint)]
        if problems:  # the files of a folder are alike: the first bad one tells
            yield from (DataProblem(p.code, f"{file.name}: {p.message}", p.hint, p.about_labels) for p in problems)
            return


def _check_arrays(
    arrays: Mapping[str, Array],
    inputs: Sequence[Input],
    axes: Mapping[str, Axis],
    labels: str | None,
    *,
    allows_nan: bool,
    one_call: bool,
) -> Iterator[DataProblem]:
    lengths: dict[str, int] = {}
    for value in inputs:
        array = arrays.get(value.name)
        if array is None:
            yield _missing(value.name, arrays, f"no array for the input '{value.name}'", "data-input-missing")
            continue
        problem = _type_problem(value, array) or _shape_problem(value, array, axes, one_call=one_call)
        if problem is not None:
            yield problem
            continue
        if array.shape and (len(array.shape) > len(value.shape) or (value.shape and value.shape[0] in axes)):
            lengths[value.name] = array.shape[0]
        if not allows_nan:
            yield from _nan_problem(value.name, array)
    yield from _length_problems(lengths)
    if labels is not None:
        yield from _label_problems(arrays, labels, lengths, one_call=one_call)


def _missing(name: str, arrays: Mapping[str, Array], message: str, code: str, *, labels: bool = False) -> DataProblem:
    there = ", ".join(arrays) if arrays else "nothing"
    hint = did_you_mean(name, list(arrays)) or f"it holds {there}"
    return DataProblem(code, message, hint, labels)


_ORDER = {"bool": 0, "uint": 1, "int": 1, "float": 2, "string": 3}


def _kind(dtype: str) -> str:
    return "float" if "float" in dtype else dtype.rstrip("0123456789")


def _type_problem(value: Input, array: Array) -> DataProblem | None:
    declared, given = _kind(value.dtype), _kind(array.dtype)
    fits = declared == given if "string" in (declared, given) else _ORDER.get(given, 9) <= _ORDER.get(declared, 9)
    if fits:
        return None
    message = f"'{value.name}' holds {array.dtype}, which does not become {value.dtype} without loss"
    return DataProblem("data-dtype", message, "convert it, or correct `dtype`")


def _shape_problem(value: Input, array: Array, axes: Mapping[str, Axis], *, one_call: bool) -> DataProblem | None:
    """Compare an array with the declared shape: of the same rank, its first axis is cut; one rank more, it is rows."""
    rank, given = len(value.shape), array.shape
    declared = "[" + ", ".join(map(str, value.shape)) + "]"
    shown = f"'{value.name}' has shape {list(given)}, and {declared} is declared"
    if len(given) not in (rank, rank + 1):
        return DataProblem("data-shape", f"{shown}: the rank must be {rank}, or {rank + 1} with one call a row")
    if given and given[0] == 0:
        return DataProblem("data-empty", f"'{value.name}' has no rows")
    dims = given[1:] if len(given) > rank else given
    cut = len(given) == rank and not one_call
    for index, (want, have) in enumerate(zip(value.shape, dims, strict=True)):
        if index == 0 and cut:
            if isinstance(want, int) and have % want:
                return DataProblem("data-shape", f"{shown}: {have} rows cannot be cut into calls of {want}")
            continue
        if isinstance(want, int) and want != have:
            return DataProblem("data-shape", f"{shown}: {have} where it says {want}")
        axis = axes.get(want) if isinstance(want, str) else None
        if axis is not None and not axis.min <= have <= axis.max:
            return DataProblem("data-shape", f"{shown}: '{want}' may be {axis.min} to {axis.max}, not {have}")
    return None


def _length_problems(lengths: Mapping[str, int]) -> Iterator[DataProblem]:
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"'{name}' {count}" for name, count in lengths.items())
        yield DataProblem("data-length", f"the inputs differ in their number of rows: {listed}")


def _label_problems(
    arrays: Mapping[str, Array], labels: str, lengths: Mapping[str, int], *, one_call: bool
) -> Iterator[DataProblem]:
    array = arrays.get(labels)
    if array is None:
        yield _missing(labels, arrays, f"no labels '{labels}', which the metric needs", "labels-missing", labels=True)
        return
    rows = next(iter(lengths.values()), None)
    if rows is not None and not one_call and (not array.shape or array.shape[0] != rows):
        count = array.shape[0] if array.shape else "a single value"
        yield DataProblem("data-length", f"{rows} rows, but {count} labels", None, True)
    yield from _nan_problem(labels, array)


def _nan_problem(name: str, array: Array) -> Iterator[DataProblem]:
    row = array.first_nan()
    if row is not None:
        hint = "remove or fill such rows; only sklearn models may be given missing values"
        yield DataProblem("nan-in-data", f"'{name}' holds NaN, first in row {row}", hint)


def _check_columns(
    columns: Mapping[str, Array], inputs: Sequence[Input], labels: str | None, *, allows_nan: bool
) -> Iterator[DataProblem]:
    for value in inputs:
        column = columns.get(value.name)
        if column is None:
            yield _missing(value.name, columns, f"no column for the input '{value.name}'", "data-input-missing")
            continue
        problem = _type_problem(value, column)
        if len(value.shape) > 2 or (len(value.shape) == 2 and value.shape[1] != 1):
            declared = "[" + ", ".join(map(str, value.shape)) + "]"
            message = f"the column '{value.name}' gives one value a row, and {declared} is declared"
            problem = DataProblem("data-shape", message, "declare [batch, 1], or keep the data in a .npz")
        elif column.shape[0] == 0:
            problem = DataProblem("data-empty", f"'{value.name}' has no rows")
        if problem is not None:
            yield problem
        elif not allows_nan:
            yield from _nan_problem(value.name, column)
    if labels is None:
        return
    if labels not in columns:
        yield _missing(labels, columns, f"no column '{labels}', which the metric needs", "labels-missing", labels=True)
    else:
        yield from _nan_problem(labels, columns[labels])
