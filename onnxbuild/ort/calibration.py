"""Feeding calibration calls to ONNX Runtime's calibrators a few at a time; knows no calibration method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnxruntime.quantization import CalibrationDataReader

Call = Mapping[str, np.ndarray]

MOST_CALLS = 64
MOST_BYTES = 2_000_000
"""Calls, and bytes of inputs, that form one group."""


class CallReader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
    """Calls in the order given, in groups; to the calibrator each group is one step (`stride` 1) of its data.

    A calibrator keeps every intermediate tensor of a group until the group ends, so a group is small. Histograms
    stack the tensors of a group: its calls have the same shapes. They also set the width of their bins by the first
    group, and one call may be a poor sample of the range: so groups are not single calls but where that must be.
    """

    stride = 1

    def __init__(self, calls: Sequence[Call], names: Sequence[str], *, single: bool = False) -> None:
        self._calls, self._names = calls, names
        self._groups = _groups(calls, names, 1 if single else MOST_CALLS)
        self._at = self._end = 0

    def __len__(self) -> int:
        return len(self._groups)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go to the groups from `start_index` up to `end_index`."""
        chosen = self._groups[start_index:end_index]
        self._at, self._end = (chosen[0].start, chosen[-1].stop) if chosen else (0, 0)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next call of the groups, or None at their end."""
        if self._at >= self._end:
            return None
        call = self._calls[self._at]
        self._at += 1
        return {name: call[name] for name in self._names}


def _groups(calls: Sequence[Call], names: Sequence[str], most: int) -> list[range]:
    groups: list[range] = []
    shapes: list[tuple[int, ...]] = []
    room = 0
    for number, call in enumerate(calls):
        own = [call[name].shape for name in names]
        size = sum(call[name].nbytes for name in names)
        if groups and own == shapes and len(groups[-1]) < most and size <= room:
            groups[-1] = range(groups[-1].start, number + 1)
            room -= size
        else:
            groups.append(range(number, number + 1))
            shapes, room = own, MOST_BYTES - size
    return groups
