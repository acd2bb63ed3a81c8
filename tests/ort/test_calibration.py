"""Calibration calls in groups: all of them, in order, of equal shapes, bounded."""

from __future__ import annotations

import numpy as np
import pytest

from onnxbuild.ort import calibration
from onnxbuild.ort.calibration import Call, CallReader


def read(reader: CallReader) -> list[list[int]]:
    groups = []
    for start in range(0, len(reader), reader.stride):
        reader.set_range(start, start + reader.stride)
        group = []
        while (call := reader.get_next()) is not None:
            group.append(int(call["x"].flat[0]))
        groups.append(group)
    return groups


def calls(*rows: int) -> list[Call]:
    return [{"x": np.full((n, 2), i, np.float32), "other": np.zeros(9)} for i, n in enumerate(rows)]


def test_a_group_ends_where_the_shape_changes() -> None:
    assert read(CallReader(calls(1, 1, 2, 2, 1), ["x"])) == [[0, 1], [2, 3], [4]]


def test_a_group_has_at_most_so_many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "MOST_CALLS", 2)
    assert read(CallReader(calls(1, 1, 1), ["x"])) == [[0, 1], [2]]


def test_a_group_has_at_most_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "MOST_BYTES", 16)
    assert read(CallReader(calls(1, 1, 1, 9), ["x"])) == [[0, 1], [2], [3]]


def test_single_calls_and_only_the_models_inputs() -> None:
    reader = CallReader(calls(1, 1), ["x"], single=True)
    assert read(reader) == [[0], [1]]
    reader.set_range(0, 1)
    call = reader.get_next()
    assert call is not None
    assert list(call) == ["x"]
