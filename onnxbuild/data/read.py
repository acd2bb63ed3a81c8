"""The door to every kind of data that a recipe can name: from there to calls ready to be written; knows no model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.csv_columns import CsvColumns
from onnxbuild.data.cut import Prepared, cut_arrays
from onnxbuild.data.fit import Declared
from onnxbuild.data.loader import load
from onnxbuild.data.npz import NpzArrays
from onnxbuild.data.parquet_columns import ParquetColumns
from onnxbuild.data.random_calls import generate
from onnxbuild.data.safetensors_arrays import SafetensorsArrays
from onnxbuild.data.stream import Named, follow
from onnxbuild.recipe.types import DataSource, FileData, LoaderData, RandomData

SUFFIXES = (".npz", ".safetensors", ".csv", ".parquet")


def prepare(
    data: DataSource, file: Path | None, declared: Declared, labels: str | None = None, samples: int | None = None
) -> Prepared:
    """Return the data as calls that fit the declaration; `file` is the data file, its folder, or the loader's file.

    `labels` names the array of labels, None where none are wanted; `samples` limits to the first so many. Raises
    StageFailure, also while the pieces are iterated.
    """
    match data:
        case FileData():
            assert file is not None
            if file.is_dir():
                return follow(_folder(file), declared, labels, samples)
            return cut_arrays(open_file(file, declared), declared, labels, samples, file.name)
        case LoaderData():
            assert file is not None
            loaded = load(file, data.function)
            what = f"the loader '{data.function.name}'"
            if isinstance(loaded, Mapping):
                return cut_arrays(loaded, declared, labels, samples, what)
            return follow(((f"{what}, call {n}", call) for n, call in enumerate(loaded)), declared, labels, samples)
        case RandomData():
            if labels is not None:
                raise StageFailure("data-lacks-array", "random data has no labels", hint="name a file or a loader")
            limited = data if samples is None else RandomData(data.seed, min(samples, data.samples))
            return generate(limited, declared)


def open_file(file: Path, declared: Declared) -> Mapping[str, object]:
    """Return a file's arrays by name, each read when asked for; raises StageFailure where it cannot be read."""
    match file.suffix.lower():
        case ".npz":
            return NpzArrays(file)
        case ".safetensors":
            return SafetensorsArrays(file)
        case ".csv":
            return CsvColumns(file, {i.name: i.dtype for i in declared.inputs})
        case ".parquet":
            return ParquetColumns(file)
    raise StageFailure("data-unreadable", f"{file.name} is of no known kind; known are {', '.join(SUFFIXES)}")


def _folder(folder: Path) -> Iterator[Named]:
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".npz" and p.is_file())
    if not files:
        raise StageFailure("data-is-empty", f"the folder {folder.name} holds no .npz files")
    return ((file.name, NpzArrays(file)) for file in files)
