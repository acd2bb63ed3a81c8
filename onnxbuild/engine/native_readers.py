"""The one table of libraries that read files natively, unseen by audit events, and how their calls are heard.

Knows the libraries by name only: a row is wrapped once its module has been imported by somebody.
"""

from __future__ import annotations

import functools
import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, auto
from types import ModuleType
from typing import Any, NamedTuple

from onnxbuild.engine.audit import Audit
from onnxbuild.engine.journal import Sight


class Way(Enum):
    """What a call does with the path it is given."""

    READS = auto()  # a file, or a folder with all that is below it
    WRITES = auto()
    BY_MODE = auto()  # tells it by the argument after the path
    LISTS = auto()
    MATCHES = auto()  # a pattern
    BEGINS = auto()  # files whose names begin so
    MODEL = auto()  # an ONNX file with its external data
    STARTS = auto()  # no path: another interpreter


class Reader(NamedTuple):
    """A function or method (`name`) of a module; `argument` is the path's name and position, self not counted."""

    module: str
    name: str
    way: Way
    argument: str = ""
    position: int = 0


_TF_DATA, _TF_FILES = "tensorflow.python.data.ops", "tensorflow.python.lib.io.file_io"

READERS = (
    Reader("safetensors", "safe_open", Way.READS, "filename"),
    Reader("safetensors.torch", "load_file", Way.READS, "filename"),
    Reader("safetensors.numpy", "load_file", Way.READS, "filename"),
    Reader("safetensors.tensorflow", "load_file", Way.READS, "filename"),
    Reader("safetensors.torch", "save_file", Way.WRITES, "filename", 1),
    Reader("safetensors.numpy", "save_file", Way.WRITES, "filename", 1),
    Reader("h5py._hl.files", "File.__init__", Way.BY_MODE, "name"),
    Reader("pyarrow", "memory_map", Way.READS, "path"),
    Reader("pyarrow.csv", "read_csv", Way.READS, "input_file"),
    Reader("pyarrow.csv", "open_csv", Way.READS, "input_file"),
    Reader("pyarrow.json", "read_json", Way.READS, "input_file"),
    Reader("pyarrow.feather", "read_table", Way.READS, "source"),
    Reader("pyarrow.orc", "read_table", Way.READS, "source"),
    Reader("pyarrow.orc", "ORCFile.__init__", Way.READS, "source"),
    Reader("pyarrow.parquet.core", "ParquetFile.__init__", Way.READS, "source"),
    Reader("pyarrow.parquet.core", "ParquetDataset.__init__", Way.READS, "path_or_paths"),
    Reader("pyarrow.parquet.core", "ParquetWriter.__init__", Way.WRITES, "where"),
    Reader("pyarrow.dataset", "dataset", Way.READS, "source"),
    Reader("torch.export", "load", Way.READS, "f"),
    Reader("torch.jit._serialization", "load", Way.READS, "f"),
    Reader("torch", "from_file", Way.READS, "filename"),
    Reader("onnx.checker", "check_model", Way.MODEL, "model"),
    Reader("onnx.shape_inference", "infer_shapes_path", Way.MODEL, "model_path"),
    Reader("onnx.external_data_helper", "load_external_data_for_model", Way.READS, "base_dir", 1),
    Reader(
        "onnxruntime.capi.onnxruntime_inference_collection", "InferenceSession.__init__", Way.MODEL, "path_or_bytes"
    ),
    Reader("lightgbm.basic", "Booster.__init__", Way.READS, "model_file", 2),
    Reader("lightgbm.basic", "Dataset.__init__", Way.READS, "data"),
    Reader("xgboost.core", "Booster.load_model", Way.READS, "fname"),
    Reader("xgboost.core", "DMatrix.__init__", Way.READS, "data"),
    Reader(_TF_FILES, "FileIO.__init__", Way.BY_MODE, "name"),
    Reader(_TF_FILES, "list_directory_v2", Way.LISTS, "path"),
    Reader(_TF_FILES, "get_matching_files_v2", Way.MATCHES, "pattern"),
    Reader("tensorflow.python.ops.io_ops", "read_file", Way.READS, "filename"),
    Reader("tensorflow.python.saved_model.load", "load", Way.READS, "export_dir"),
    Reader("tensorflow.python.training.py_checkpoint_reader", "NewCheckpointReader", Way.BEGINS, "filepattern"),
    Reader(f"{_TF_DATA}.dataset_ops", "DatasetV2.list_files", Way.MATCHES, "file_pattern"),
    Reader(f"{_TF_DATA}.dataset_ops", "DatasetV2.load", Way.READS, "path"),
    Reader(f"{_TF_DATA}.readers", "TextLineDatasetV2.__init__", Way.READS, "filenames"),
    Reader(f"{_TF_DATA}.readers", "TFRecordDatasetV2.__init__", Way.READS, "filenames"),
    Reader(f"{_TF_DATA}.readers", "FixedLengthRecordDatasetV2.__init__", Way.READS, "filenames"),
    Reader("tensorflow.python.data.experimental.ops.readers", "CsvDatasetV2.__init__", Way.READS, "filenames"),
    Reader("tensorflow.lite.python.interpreter", "Interpreter.__init__", Way.READS, "model_path"),
    Reader("ai_edge_litert.interpreter", "Interpreter.__init__", Way.READS, "model_path"),
    Reader("multiprocessing.popen_spawn_posix", "Popen._launch", Way.STARTS),
    Reader("multiprocessing.popen_forkserver", "Popen._launch", Way.STARTS),
)

MODULES = frozenset(row.module for row in READERS)

External = Callable[[str], Iterable[str]]
"""Returns the files of external data that an ONNX file names."""


class _Pair(NamedTuple):
    """A function of a package, and what stands in its place."""

    package: str
    plain: object
    heard: object


class NativeReaders:
    """Wraps the rows of the table and notes which files their calls read."""

    def __init__(self, audit: Audit, is_by_user: Callable[[], bool], external: External) -> None:
        self._audit, self._is_by_user, self._external = audit, is_by_user, external

    def start(self) -> None:
        """Wrap what has been imported already."""
        _replace([pair for name in MODULES if (module := sys.modules.get(name)) for pair in self._wrap(module)])

    def wrap(self, module: ModuleType) -> None:
        """Wrap the rows of one module, also under the names that its package has given them elsewhere."""
        _replace([*self._wrap(module)])

    def _wrap(self, module: ModuleType) -> Iterator[_Pair]:
        """Wrap the rows of one module where they are defined, and yield the functions that have other names too."""
        for row in READERS:
            if row.module != module.__name__:
                continue
            owner: Any = module
            *path, name = row.name.split(".")
            for part in path:
                owner = getattr(owner, part, None)
            plain = vars(owner).get(name) if owner is not None else None
            if plain is None:
                continue  # another release of the library
            if isinstance(plain, staticmethod):
                setattr(owner, name, staticmethod(self._heard(row, plain.__func__, 0)))
                continue
            heard = self._heard(row, plain, len(path))
            setattr(owner, name, heard)
            if not path:
                yield _Pair(module.__name__.partition(".")[0], plain, heard)

    def _heard(self, row: Reader, function: Callable[..., Any], skip: int) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            if row.way is Way.STARTS:
                if self._is_by_user():
                    self._audit.miss("starts another Python interpreter")
            else:
                given = args[skip + row.position] if len(args) > skip + row.position else options.get(row.argument)
                rest = args[skip + row.position + 1 :]
                mode = str(rest[0] if rest else options.get("mode", "r"))
                for path in self._paths(given, row):
                    self._see(row.way, path, mode)
            return function(*args, **options)

        return call

    def _paths(self, given: object, row: Reader) -> Iterator[str]:
        """Yield the paths in an argument: one, several, a tensor of them; what is open or in memory has none."""
        if isinstance(given, (str, os.PathLike)):
            yield os.fsdecode(given).removeprefix("file://").partition("?format=")[0]  # the latter of XGBoost
        elif isinstance(given, bytes):
            if len(given) < 4096 and b"\0" not in given:
                yield os.fsdecode(given)
        elif isinstance(given, list | tuple):
            for item in given:
                yield from self._paths(item, row)
        elif type(given).__module__.startswith("tensorflow"):
            yield from self._tensor_paths(given, row)

    def _tensor_paths(self, given: Any, row: Reader) -> Iterator[str]:
        """Yield the paths in a tensor; one of a graph, or a dataset, has them only when TensorFlow itself runs it."""
        try:
            value = given.numpy()
        except (AttributeError, NotImplementedError):
            if self._is_by_user():
                self._audit.miss(f"reads with TensorFlow's {row.name.partition('.')[0]} what a graph names")
            return
        for item in value.ravel().tolist() if hasattr(value, "ravel") else [value]:
            yield from self._paths(item, row)

    def _see(self, way: Way, path: str, mode: str) -> None:
        match way:
            case Way.WRITES:
                self._audit.see(Sight.WRITTEN, path)
            case Way.BY_MODE:
                writes = not {"w", "a", "x", "+"}.isdisjoint(mode)
                self._audit.see(Sight.WRITTEN if writes else Sight.OPENED, path)
            case Way.LISTS:
                self._audit.see(Sight.LISTED, path)
            case Way.MATCHES:
                self._see_matches(path)
            case Way.BEGINS:
                for file in glob.glob(f"{glob.escape(path)}*"):  # lists the folder, which is what it depends on
                    self._audit.see(Sight.OPENED, file)
            case _:
                if self._see_all(path) and way is Way.MODEL:
                    for file in self._external(path):
                        self._audit.see(Sight.OPENED, file)

    def _see_matches(self, pattern: str) -> None:
        for file in glob.glob(pattern):
            self._audit.see(Sight.PROBED, file)

    def _see_all(self, path: str) -> bool:
        """Note a file, or a folder's files and folders; return whether it is a file that can be anyone's input.

        Listing the folders here is heard by the audit hook.
        """
        if not os.path.isdir(path):
            return self._audit.see(Sight.OPENED, path)
        for folder, _, files in os.walk(path):
            for file in files:
                self._audit.see(Sight.OPENED, os.path.join(folder, file))
        return False


def _replace(pairs: Sequence[_Pair]) -> None:
    """Put wrapped functions in place of the plain ones wherever modules of their package have them by a name."""
    table = {(pair.package, id(pair.plain)): pair.heard for pair in pairs}
    packages = {pair.package for pair in pairs}
    for name, module in list(sys.modules.items()):
        if (package := name.partition(".")[0]) in packages:
            for attribute, value in list(vars(module).items()):
                if (heard := table.get((package, id(value)))) is not None:
                    setattr(module, attribute, heard)
