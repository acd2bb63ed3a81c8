"""Feeding calibration calls to ONNX Runtime's calibrators a few at a time; knows no calibration method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnxruntime.quantization import CalibrationDataReader

Call = Mapping[str, np.ndarray]

MOST_CALLS = 64
MOST_BYTES = 2_000_000


class CallReader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
    """Calls in the order given, in groups of `stride`.

    A calibrator keeps every intermediate tensor of a group until the group ends, so the stride bounds its memory.
    It wants a number of calls that the stride divides; the length is rounded up, and the last group is shorter.
    """

    def __init__(self, calls: Sequence[Call], names: Sequence[str]) -> None:
        self._calls, self._names = calls, names
        self._at, self._end = 0, len(calls)
        largest = max((sum(call[name].nbytes for name in names) for call in calls), default=1)
        self.stride = max(1, min(MOST_CALLS, len(calls), MOST_BYTES // max(1, largest)))

    def __len__(self) -> int:
        return -(-len(self._calls) // self.stride) * self.stride

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go to the group from `start_index` up to `end_index`."""
        self._at, self._end = start_index, min(end_index, len(self._calls))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next call of the group, or None at its end."""
        if self._at >= self._end:
            return None
        call = self._calls[self._at]
        self._at += 1
        return {name: call[name] for name in self._names}
