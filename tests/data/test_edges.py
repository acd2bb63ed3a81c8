"""Calls at the edges of dynamic axes: which sizes, from which rows, and what a budget leaves out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxbuild.data import edges as module
from onnxbuild.data.calls import Call, Calls, read_calls, write_calls
from onnxbuild.data.cut import Sizes
from onnxbuild.data.edge import Edge, blame
from onnxbuild.data.edges import between, list_edges, make_edges, read_edges, write_edges
from onnxbuild.data.fit import Declared
from onnxbuild.recipe.types import Axis, Input

X = Input(name="x", dtype="float32", shape=("batch", 2))
IDS = Input(name="ids", dtype="int64", shape=("batch", "length"))
MASK = Input(name="mask", dtype="int64", shape=("batch", "length"))
SCALE = Input(name="scale", dtype="float32", shape=())


def stored(folder: Path, *calls: Call) -> Calls:
    write_calls(folder / "calls", calls)
    return read_calls(folder / "calls")


def sizes(edges: list[Edge]) -> list[str]:
    return [edge.name + (" (corner)" if edge.corner else "") for edge in edges]


def test_each_axis_goes_to_its_ends_and_one_between_with_the_others_small() -> None:
    assert sizes(list_edges({"batch": Axis(64), "length": Axis(512, 8, 8)})) == [
        "batch 1, length 8",
        "batch 9, length 8",
        "batch 1, length 72",
        "batch 64, length 8",
        "batch 1, length 512",
        "batch 64, length 512 (corner)",
    ]


def test_one_axis_has_no_joint_corner_and_equal_sizes_are_tried_once() -> None:
    assert sizes(list_edges({"batch": Axis(64, 4)})) == ["batch 4", "batch 17", "batch 64"]
    assert sizes(list_edges({"batch": Axis(2)})) == ["batch 1", "batch 2"]
    assert sizes(list_edges({"batch": Axis(8, 8)})) == ["batch 8"]


@pytest.mark.parametrize(("axis", "expected"), [(Axis(256), 17), (Axis(96, 32, 32), 32), (Axis(3), 1), (Axis(5), 3)])
def test_size_between_keeps_steps_and_range(axis: Axis, expected: int) -> None:
    assert between(Sizes.of(axis)) == expected


def test_rows_are_the_data_s_own_and_begin_again_when_used_up(tmp_path: Path) -> None:
    rows = np.arange(10, dtype=np.float32).reshape(5, 2)
    made = make_edges(stored(tmp_path, {"x": rows[:3]}, {"x": rows[3:]}), Declared((X,), {"batch": Axis(7)})).made
    assert [len(call["x"]) for _, call in made] == [1, 3, 7]
    np.testing.assert_array_equal(made[2][1]["x"], rows[[0, 1, 2, 3, 4, 0, 1]])


def test_other_axes_are_cut_or_repeated_alike_in_all_inputs(tmp_path: Path) -> None:
    ids, mask = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[1, 1, 0], [1, 0, 0]])
    declared = Declared((IDS, MASK, SCALE), {"batch": Axis(2), "length": Axis(4)})
    data = stored(tmp_path, {"ids": ids, "mask": mask, "scale": np.array(2, np.float32)})
    found = {edge.name: call for edge, call in make_edges(data, declared).made}
    assert found["batch 1, length 1"]["ids"].tolist() == [[1]]
    corner = found["batch 2, length 4"]
    assert corner["ids"].tolist() == [[1, 2, 3, 1], [4, 5, 6, 4]]
    assert corner["mask"].tolist() == [[1, 1, 0, 1], [1, 0, 0, 1]]
    assert corner["scale"].shape == ()


def test_call_of_the_data_nearest_in_length_is_taken(tmp_path: Path) -> None:
    short, long = np.full((1, 2), 7), np.full((1, 6), 9)
    declared = Declared((IDS,), {"batch": Axis(3), "length": Axis(6)})
    found = {
        edge.name: call["ids"]
        for edge, call in make_edges(stored(tmp_path, {"ids": long}, {"ids": short}), declared).made
    }
    assert found["batch 1, length 1"].tolist() == [[7]]
    assert found["batch 3, length 1"].tolist() == [[7]] * 3
    assert found["batch 1, length 6"].tolist() == [[9] * 6]


def test_texts_are_cut_and_repeated_too(tmp_path: Path) -> None:
    city = Input(name="city", dtype="string", shape=("batch", 1))
    data = stored(tmp_path, {"city": np.array([["Bern"], ["Köln"]], object)})
    made = make_edges(data, Declared((city,), {"batch": Axis(3)})).made
    assert made[-1][1]["city"].tolist() == [["Bern"], ["Köln"], ["Bern"]]


def test_budget_skips_what_is_too_large_but_never_the_smallest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST", 100)
    data = stored(tmp_path, {"x": np.zeros((2, 2), np.float32)})
    found = make_edges(data, Declared((X,), {"batch": Axis(1000, 1)}))
    assert sizes([edge for edge, _ in found.made]) == ["batch 1"]
    assert [(skipped.edge.name, skipped.bytes) for skipped in found.skipped] == [
        ("batch 31", 248),
        ("batch 1000", 8000),
    ]
    found = make_edges(data, Declared((X,), {"batch": Axis(1000, 500)}))
    assert sizes([edge for edge, _ in found.made]) == ["batch 500"]


def test_more_data_allows_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST", 100)
    data = stored(tmp_path, *[{"x": np.zeros((200, 2), np.float32)}] * 6)
    assert not make_edges(data, Declared((X,), {"batch": Axis(1000)})).skipped


def test_written_edges_are_read_back_in_order(tmp_path: Path) -> None:
    made = [(Edge(sizes={"batch": 2}), {"x": np.ones((2, 2), np.float32)})]
    write_edges(tmp_path / "edges", made)
    assert [edge for edge, _ in read_edges(tmp_path / "edges")] == [Edge(sizes={"batch": 2})]
    write_edges(tmp_path / "none", [])
    assert read_edges(tmp_path / "none") == []


def test_static_inputs_have_no_edges(tmp_path: Path) -> None:
    fixed = Input(name="x", dtype="float32", shape=(2, 2))
    assert make_edges(stored(tmp_path, {"x": np.zeros((2, 2), np.float32)}), Declared((fixed,), {})).made == ()


def test_blame_falls_on_sizes_that_no_sound_edge_has() -> None:
    edge = Edge(sizes={"batch": 1, "length": 512})
    assert blame(edge, [Edge(sizes={"batch": 1, "length": 8})]) == "length 512"
    assert blame(edge, []) == "batch 1, length 512"
