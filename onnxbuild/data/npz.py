"""Arrays of .npz files, without pickle and never larger than the file says; knows no recipe."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from onnxbuild.base.diagnostics import StageFailure

SUFFIX = ".npy"


class NpzArrays(Mapping[str, np.ndarray]):
    """The arrays of one .npz by name, each read when asked for; raises StageFailure (`data-unreadable`)."""

    def __init__(self, file: Path) -> None:
        self._name = file.name
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise _unreadable(file.name, str(error)) from None
        self._members = {
            m.filename.removesuffix(SUFFIX): m for m in self._zip.infolist() if m.filename.endswith(SUFFIX)
        }

    def __getitem__(self, name: str) -> np.ndarray:
        member = self._members[name]
        try:
            with self._zip.open(member) as stream:
                self._check_size(name, stream, member.file_size)
            with self._zip.open(member) as stream:
                return npy.read_array(stream, allow_pickle=False)
        except (zipfile.BadZipFile, OSError, ValueError, EOFError, RuntimeError, NotImplementedError) as error:
            raise _unreadable(self._name, f"array '{name}': {error}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def _check_size(self, name: str, stream: object, size: int) -> None:
        """Refuse a header that promises more bytes than its member holds, before anything of that size is allocated."""
        version = npy.read_magic(stream)  # type: ignore[arg-type]  # ZipExtFile reads like a file
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(stream)  # type: ignore[arg-type]  # as above
        if dtype.hasobject:
            raise ValueError("it holds Python objects, and pickle is never loaded; save strings as a numpy str array")
        if math.prod(shape) * dtype.itemsize > size:
            raise ValueError(f"its header says {dtype}{list(shape)}, more than the {size} bytes it has")


def _unreadable(name: str, why: str) -> StageFailure:
    return StageFailure("data-unreadable", f"{name} cannot be read: {why}", tool="numpy")
