"""Arrays of .safetensors files, each read when asked for; knows no recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from onnxbuild.base.diagnostics import StageFailure


class SafetensorsArrays(Mapping[str, np.ndarray]):
    """The arrays of one .safetensors file by name; raises StageFailure (`data-unreadable`)."""

    def __init__(self, file: Path) -> None:
        self._name = file.name
        try:
            opened: Any = safe_open(str(file), "numpy")
        except (SafetensorError, OSError) as error:
            raise _unreadable(file.name, error) from None
        self._file, self._names = opened, tuple(opened.keys())

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        try:
            array: np.ndarray = self._file.get_tensor(name)
        except (SafetensorError, OSError, TypeError, ValueError, KeyError) as error:
            raise _unreadable(self._name, error) from None
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _unreadable(name: str, error: Exception) -> StageFailure:
    return StageFailure("data-unreadable", f"{name} cannot be read: {error}", tool="safetensors")
