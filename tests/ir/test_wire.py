"""What a file holds is counted from its bytes, rows of numbers at once, and the same as one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from onnxbuild.ir import wire
from onnxbuild.ir.wire import Counts, WireError, count

PLENTY = {"max_nodes": 100, "max_fields": 10**6, "max_numbers": 10**6, "max_depth": 10}
NUMBERS = st.lists(st.integers(-3, 2**40), max_size=200) | st.lists(st.integers(0, 300), min_size=100, max_size=900)
FLOATS = st.builds(lambda some, times: some * times, st.lists(st.floats(width=32), max_size=9), st.integers(1, 90))


def file_of(folder: Path, **attributes: object) -> Path:
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    model = helper.make_model(helper.make_graph([node], "trees", [], []))
    (folder / "a.onnx").write_bytes(model.SerializeToString())
    return folder / "a.onnx"


def one_by_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> Counts:
    with monkeypatch.context() as patch:
        patch.setattr(wire, "_ROW", 10**9)
        return count(path, **PLENTY)


@settings(max_examples=40, deadline=None)
@given(ints=NUMBERS, floats=FLOATS, block=st.integers(8, 700))
def test_rows_count_as_their_numbers_do(
    tmp_path_factory: pytest.TempPathFactory, ints: list[int], floats: list[float], block: int
) -> None:
    attributes = {key: value for key, value in {"ids": ints, "values": floats, "modes": ["LEAF"] * 9}.items() if value}
    path = file_of(tmp_path_factory.mktemp("wire"), **attributes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_BLOCK", block)
        found = count(path, **PLENTY)
        assert found == one_by_one(path, patch)
    assert found.numbers >= len(ints) + len(floats)


def test_rows_are_bounded_and_numbers_weigh_less_than_messages(tmp_path: Path) -> None:
    path = file_of(tmp_path, ids=list(range(5000)))
    assert count(path, **PLENTY).fields < 100
    assert count(path, **{**PLENTY, "max_fields": 100}).numbers > 5000
    with pytest.raises(WireError, match="more than 4,999 numbers"):
        count(path, **{**PLENTY, "max_numbers": 4999})


@pytest.mark.parametrize(
    "hostile",
    [(b"\x40\x01" * 64 + b"\x18\x01") * 200, b"\xc0\x00\x01" * 5000, b"\xc0\x00\x01\x40\x01" * 3000],
    ids=["short rows", "padded tags", "some padded tags"],
)
def test_rows_that_end_at_once_cost_no_more_than_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hostile: bytes
) -> None:
    content = hostile
    for field in (5, 1, 7):  # an attribute, in a node, in a graph
        size = len(content)
        content = bytes((field << 3 | 2, size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14)) + content
    (tmp_path / "a.onnx").write_bytes(content)
    looked_at, look = [0], wire._row_of_varints

    def counted(block: np.ndarray, tag: int) -> tuple[int, int]:
        looked_at[0] += len(block)
        return look(block, tag)

    monkeypatch.setattr(wire, "_row_of_varints", counted)
    found = count(tmp_path / "a.onnx", **PLENTY)
    assert 0 < looked_at[0] < 4 * len(hostile)
    assert found == one_by_one(tmp_path / "a.onnx", monkeypatch)


@pytest.mark.parametrize("damage", ["cut", "endless"])
def test_a_damaged_row_is_refused_as_any_damage(tmp_path: Path, damage: str) -> None:
    path = file_of(tmp_path, ids=[2**60] * 400)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"" if damage == "cut" else b"\xff" * (len(data) - len(data) // 2)
    path.write_bytes(data)
    with pytest.raises(WireError):
        count(path, **PLENTY)
