"""Calls as an artifact: a sequence of named arrays in two files, written once, mapped when read; knows no model.

`calls.bin` holds every array, little-endian, in call order, each at a multiple of 64 bytes. `calls.json` says where.
A string array is its n+1 int64 offsets followed by the UTF-8 text. The same arrays are the same bytes: names are
sorted, gaps are zeros, and there is no pickle, no time and no path.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, TypeAlias, overload

import ml_dtypes
import msgspec
import numpy as np
from numpy.typing import NDArray

from onnxbuild.base.codec import decode, encode

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.generic]]"
"""An array of any dtype; strings are of dtype object and hold `str` only."""

Call = Mapping[str, np.ndarray]
"""One call's arrays by input or output name; strings are numpy arrays of dtype object."""

INDEX, BYTES = "calls.json", "calls.bin"
FORMAT = 1
ALIGNMENT = 64
STRING = "string"

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
NARROW = ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "int4", "uint4")
DTYPES: dict[str, np.dtype[np.generic]] = {
    **{name: np.dtype(name).newbyteorder("<") for name in ("bool", *INTEGERS, "float16", "float32", "float64")},
    **{name: np.dtype(getattr(ml_dtypes, name)) for name in NARROW},
}
"""Every dtype an array may have besides string, by the name that recipes use."""


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    """Where one array lies in the bytes."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


class _Index(msgspec.Struct, frozen=True):
    """All that `calls.json` holds; `calls[i][j]` is call i's array `names[j]`."""

    format: int
    bytes: int
    names: tuple[str, ...]
    calls: tuple[tuple[_Entry, ...], ...]


def dtype_name(array: np.ndarray) -> str:
    """Return the recipe's name of the array's dtype ("string" for text); raises TypeError for one no call can have."""
    if array.dtype.kind in "OUT":
        return STRING
    name = array.dtype.name
    if name not in DTYPES:
        raise TypeError(f"dtype {array.dtype} cannot be stored")
    return name


def write_calls(folder: Path, calls: Iterable[Call]) -> int:
    """Write `calls` into `folder`, one at a time, and return how many there were.

    Raises ValueError when the calls' names differ, TypeError for a dtype that no call can have (objects that are
    not `str` included).
    """
    folder.mkdir(parents=True, exist_ok=True)
    names: tuple[str, ...] | None = None
    entries: list[tuple[_Entry, ...]] = []
    with (folder / BYTES).open("wb") as file:
        for call in calls:
            if names is None:
                names = tuple(sorted(call))
            if tuple(sorted(call)) != names:
                raise ValueError(f"call {len(entries)} has {sorted(call)}, the calls before it {list(names)}")
            entries.append(tuple(_write_array(file, np.asarray(call[name])) for name in names))
        size = file.tell()
    index = _Index(format=FORMAT, bytes=size, names=names or (), calls=tuple(entries))
    (folder / INDEX).write_bytes(encode(index))
    return len(entries)


def read_calls(folder: Path) -> Calls:
    """Open the calls in `folder`; arrays are mapped and read when asked for.

    Raises ValueError when the index does not describe the bytes.
    """
    try:
        index = decode((folder / INDEX).read_bytes(), _Index)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{INDEX} is not an index of calls: {error}") from None
    size = (folder / BYTES).stat().st_size
    if index.format != FORMAT or index.bytes != size:
        raise ValueError(
            f"{INDEX} (format {index.format}, {index.bytes} bytes) does not describe {BYTES} ({size} bytes)"
        )
    for call in index.calls:
        if len(call) != len(index.names):
            raise ValueError(f"{INDEX} has a call of {len(call)} arrays where {len(index.names)} are named")
        for entry in call:
            _verify(entry, size)
    return Calls(folder / BYTES, index)


def rows(calls: Iterable[Call], name: str) -> np.ndarray:
    """Return the array `name` of all calls, joined along axis 0; rank-0 arrays become one vector.

    Raises ValueError when there is no call or trailing dims differ.
    """
    return np.concatenate([np.atleast_1d(call[name]) for call in calls], axis=0)


class Calls(Sequence[dict[str, np.ndarray]]):
    """Stored calls, lazily read: each is a dictionary of arrays by name, in sorted order of names.

    Arrays are private copy-on-write views of the file: writing to one changes no file.
    """

    def __init__(self, file: Path, index: _Index) -> None:
        self.names = index.names
        self._entries = index.calls
        empty: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._bytes = np.asarray(np.memmap(file, np.uint8, "c")) if index.bytes else empty

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> dict[str, np.ndarray]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, np.ndarray]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, np.ndarray] | list[dict[str, np.ndarray]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        entries = self._entries[index]
        return {name: self._array(entry) for name, entry in zip(self.names, entries, strict=True)}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return (self[i] for i in range(len(self)))

    def dims(self, index: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of call `index` by name without reading its arrays."""
        return {name: entry.shape for name, entry in zip(self.names, self._entries[index], strict=True)}

    def _array(self, entry: _Entry) -> np.ndarray:
        raw = self._bytes[entry.offset : entry.offset + entry.nbytes]
        if entry.dtype == STRING:
            return _decode_strings(raw, math.prod(entry.shape)).reshape(entry.shape)
        if not entry.nbytes:
            return np.empty(entry.shape, DTYPES[entry.dtype])
        return raw.view(DTYPES[entry.dtype]).reshape(entry.shape)


def _write_array(file: BinaryIO, array: np.ndarray) -> _Entry:
    name = dtype_name(array)
    file.write(b"\0" * (-file.tell() % ALIGNMENT))
    offset = file.tell()
    if name == STRING:
        file.write(_encode_strings(array))
    else:
        file.write(np.ascontiguousarray(array, DTYPES[name]).reshape(-1).view(np.uint8).data)
    return _Entry(name, array.shape, offset, file.tell() - offset)


def _encode_strings(array: np.ndarray) -> bytes:
    values = array.reshape(-1).tolist()
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"a string array holds {value!r} of type {type(value).__name__}")
    texts = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, texts)], dtype="<i8")
    return ends.tobytes() + b"".join(texts)


def _decode_strings(raw: np.ndarray, count: int) -> np.ndarray:
    head = 8 * (count + 1)
    ends = raw[:head].view("<i8").tolist()
    text = raw[head:].tobytes()
    if ends[0] != 0 or ends[-1] != len(text):
        raise ValueError("the offsets of a string array do not describe its text")
    array = np.empty(count, object)
    array[:] = [text[start:end].decode() for start, end in itertools.pairwise(ends)]
    return array


def _verify(entry: _Entry, size: int) -> None:
    if entry.dtype != STRING and entry.dtype not in DTYPES:
        raise ValueError(f"{INDEX} names the unknown dtype '{entry.dtype}'")
    if any(dim < 0 for dim in entry.shape) or entry.offset < 0 or entry.offset + entry.nbytes > size:
        raise ValueError(f"{INDEX} points outside {BYTES}")
    count = math.prod(entry.shape)
    fits = (
        entry.nbytes >= 8 * (count + 1)
        if entry.dtype == STRING
        else entry.nbytes == count * DTYPES[entry.dtype].itemsize
    )
    if not fits:
        raise ValueError(f"{INDEX} gives {entry.nbytes} bytes to {entry.dtype}{list(entry.shape)}")
