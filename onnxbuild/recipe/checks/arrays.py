"""Headers of .npz and .safetensors files, and a search for NaN in bounded blocks; never unpickles anything.

Formats: NumPy's NEP 1 (.npy inside a zip), and the safetensors header (a length, then JSON).
"""

from __future__ import annotations

import ast
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

BLOCK = 1 << 22
MOST_SCANNED = 256 << 20
_MOST_HEADER = 1 << 20
_NPY = b"\x93NUMPY"
_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float"}
_SAFETENSORS = {
    "BOOL": ("bool", 1), "U8": ("uint8", 1), "I8": ("int8", 1), "U16": ("uint16", 2), "I16": ("int16", 2),
    "U32": ("uint32", 4), "I32": ("int32", 4), "U64": ("uint64", 8), "I64": ("int64", 8), "F16": ("float16", 2),
    "BF16": ("bfloat16", 2), "F32": ("float32", 4), "F64": ("float64", 8),
}  # fmt: skip


class DataError(Exception):
    """A data file cannot be used at all; `code` and `hint` are those of its diagnostic."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code, self.hint = code, hint


@dataclass(frozen=True)
class Array:
    """An array's type and shape; `first_nan` looks for the first row with NaN, None where there is none."""

    dtype: str
    shape: tuple[int, ...]
    first_nan: Callable[[], int | None]


def read_arrays(path: Path) -> dict[str, Array]:
    """Return the arrays in a .npz or .safetensors file by name; raises DataError."""
    try:
        return _read_safetensors(path) if path.name.endswith(".safetensors") else _read_npz(path)
    except (
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        struct.error,
    ) as error:
        raise DataError("unreadable-data", f"it cannot be read: {error}") from None


def _read_npz(path: Path) -> dict[str, Array]:
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as file:
                layout = _npy_header(file, name)
            scan = _npz_scan(path, member.filename, layout)
            arrays[name] = Array(layout.dtype, layout.shape, scan if "float" in layout.dtype else _no_nan)
    return arrays


def _no_nan() -> int | None:
    return None


@dataclass(frozen=True)
class _Layout:
    """How an array's elements lie in its file."""

    dtype: str
    shape: tuple[int, ...]
    itemsize: int
    little: bool = True
    fortran: bool = False


def _npy_header(file: IO[bytes], name: str) -> _Layout:
    start = file.read(8)
    if start[:6] != _NPY:
        raise DataError("unreadable-data", f"'{name}' is no array")
    size = struct.unpack("<H", file.read(2))[0] if start[6] == 1 else struct.unpack("<I", file.read(4))[0]
    if size > _MOST_HEADER:
        raise DataError("unreadable-data", f"the header of '{name}' is too large")
    try:
        header = ast.literal_eval(file.read(size).decode("utf-8" if start[6] >= 3 else "latin-1"))
        descr, shape, fortran = header["descr"], header["shape"], bool(header["fortran_order"])
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
        raise DataError("unreadable-data", f"the header of '{name}' is damaged") from None
    if not isinstance(shape, tuple) or not all(isinstance(dim, int) and dim >= 0 for dim in shape):
        raise DataError("unreadable-data", f"the header of '{name}' is damaged")
    if isinstance(descr, str) and descr[1:2] == "O":
        hint = "save it with a plain dtype; texts as a unicode array (`np.array(texts, dtype=str)`)"
        raise DataError("pickle-in-data", f"'{name}' holds Python objects, and reading them runs code", hint)
    if not isinstance(descr, str) or len(descr) < 3 or not descr[2:].isdigit():
        raise DataError("unreadable-data", f"'{name}' has the dtype {descr}, which no model input has")
    kind, itemsize = descr[1], int(descr[2:])
    if kind in "US":
        return _Layout("string", shape, itemsize)
    if kind not in _KINDS:
        raise DataError("unreadable-data", f"'{name}' has the dtype {descr}, which no model input has")
    dtype = "bool" if kind == "b" else f"{_KINDS[kind]}{itemsize * 8}"
    return _Layout(dtype, shape, itemsize, descr[0] != ">", fortran)


def _npz_scan(path: Path, member: str, layout: _Layout) -> Callable[[], int | None]:
    def blocks() -> Iterator[bytes]:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            _npy_header(file, member)
            while block := file.read(BLOCK):
                yield block

    return lambda: _first_nan(blocks(), layout)


def _read_safetensors(path: Path) -> dict[str, Array]:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8:
            raise DataError("unreadable-data", "it is no safetensors file")
        try:
            header = json.loads(file.read(length))
            entries = {name: _tensor(entry) for name, entry in header.items() if name != "__metadata__"}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise DataError("unreadable-data", "its safetensors header is damaged") from None
    arrays = {}
    for name, tensor in entries.items():
        if tensor.end > size - 8 - length or tensor.end - tensor.begin != prod(tensor.shape) * tensor.itemsize:
            raise DataError("unreadable-data", f"'{name}' does not fit into the file; is it cut off?")
        scan = _safetensors_scan(path, 8 + length, tensor)
        arrays[name] = Array(tensor.dtype, tensor.shape, scan if "float" in tensor.dtype else _no_nan)
    return arrays


@dataclass(frozen=True)
class _Tensor:
    """One entry of a safetensors header; `begin` and `end` count from the header's end."""

    dtype: str
    itemsize: int
    shape: tuple[int, ...]
    begin: int
    end: int


def _tensor(entry: Any) -> _Tensor:
    dtype, itemsize = _SAFETENSORS[entry["dtype"]]
    shape = tuple(int(dim) for dim in entry["shape"])
    begin, end = (int(offset) for offset in entry["data_offsets"])
    if begin < 0 or min(shape, default=0) < 0:
        raise ValueError
    return _Tensor(dtype, itemsize, shape, begin, end)


def _safetensors_scan(path: Path, base: int, tensor: _Tensor) -> Callable[[], int | None]:
    def blocks() -> Iterator[bytes]:
        left = tensor.end - tensor.begin
        with path.open("rb") as file:
            file.seek(base + tensor.begin)
            while left and (block := file.read(min(BLOCK, left))):
                left -= len(block)
                yield block

    return lambda: _first_nan(blocks(), _Layout(tensor.dtype, tensor.shape, tensor.itemsize))


def _first_nan(blocks: Iterator[bytes], layout: _Layout) -> int | None:
    """Return the row of the first NaN within MOST_SCANNED bytes; blocks hold whole elements as BLOCK is divisible."""
    import numpy as np  # only a project with data files pays for it

    order, itemsize, done = "<" if layout.little else ">", layout.itemsize, 0
    try:
        for block in blocks:
            usable = len(block) - len(block) % itemsize
            if layout.dtype == "bfloat16":
                words = np.frombuffer(block[:usable], dtype=f"{order}u2")
                bad = (words & 0x7FFF) > 0x7F80
            else:
                bad = np.isnan(np.frombuffer(block[:usable], dtype=f"{order}f{itemsize}"))
            if bad.any():
                return _row(done + int(bad.argmax()), layout)
            done += usable // itemsize
            if done * itemsize >= MOST_SCANNED:
                break
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError("unreadable-data", f"it is damaged: {error}") from None
    if done * itemsize < min(prod(layout.shape) * itemsize, MOST_SCANNED):
        raise DataError("unreadable-data", "an array is shorter than its header says")
    return None


def _row(position: int, layout: _Layout) -> int:
    shape = layout.shape
    if not shape:
        return 0
    return position % shape[0] if layout.fortran else position // max(1, prod(shape[1:]))
