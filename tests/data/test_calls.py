"""The calls artifact: what goes in comes out, deterministically, and damage is noticed."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from onnxbuild.data.calls import BYTES, DTYPES, INDEX, read_calls, rows, write_calls

NUMBERS = st.sampled_from(["bool", "int8", "int32", "int64", "uint8", "uint64", "float16", "float32", "float64"])
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
TEXT = st.text(st.characters(codec="utf-8"), max_size=6)


@st.composite
def any_array(draw: st.DrawFn) -> np.ndarray:
    shape = draw(SHAPES)
    if draw(st.booleans()):
        return draw(arrays.arrays(np.dtype(draw(NUMBERS)), shape))
    array = np.empty(shape, object)
    array.reshape(-1)[:] = draw(st.lists(TEXT, min_size=array.size, max_size=array.size))
    return array


CALLS = st.lists(st.sampled_from(["x", "ids", "Ä b/c"]), unique=True, min_size=1).flatmap(
    lambda names: st.lists(st.fixed_dictionaries({name: any_array() for name in names}), max_size=4)
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS)
def test_calls_round_trip(tmp_path: Path, calls: list[dict[str, np.ndarray]]) -> None:
    assert write_calls(tmp_path, calls) == len(calls)
    read = read_calls(tmp_path)
    assert len(read) == len(calls)
    for before, after in zip(calls, read, strict=True):
        assert set(after) == set(before)
        for name, array in before.items():
            assert after[name].dtype == array.dtype
            assert after[name].shape == array.shape
            np.testing.assert_array_equal(after[name], array)


def test_same_arrays_are_same_bytes(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    names = np.array(["a", "ü", ""], object)
    write_calls(tmp_path / "a", [{"x": x, "names": names}])
    write_calls(tmp_path / "b", iter([{"names": names.astype(str), "x": np.asfortranarray(x).astype(">f4")}]))
    for file in (BYTES, INDEX):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_thousands_of_calls_are_two_files(tmp_path: Path) -> None:
    write_calls(tmp_path, ({"x": np.full((n % 7, 2), n, np.int64)} for n in range(3000)))
    assert sorted(p.name for p in tmp_path.iterdir()) == [BYTES, INDEX]
    calls = read_calls(tmp_path)
    assert calls[2999]["x"].tolist() == [[2999, 2999]] * (2999 % 7)
    assert calls.dims(-1) == {"x": (2999 % 7, 2)}
    assert [c["x"].shape[0] for c in calls[5:8]] == [5, 6, 0]
    assert rows(calls, "x").shape == (sum(n % 7 for n in range(3000)), 2)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "int4"])
def test_ml_dtypes_round_trip(tmp_path: Path, name: str) -> None:
    array = np.array([-2, 0, 1, 3]).astype(getattr(ml_dtypes, name))
    write_calls(tmp_path, [{"x": array}])
    back = read_calls(tmp_path)[0]["x"]
    assert back.dtype == DTYPES[name]
    assert back.astype(np.float32).tolist() == [-2, 0, 1, 3]


def test_writing_to_a_read_array_changes_no_file(tmp_path: Path) -> None:
    write_calls(tmp_path, [{"x": np.zeros(3)}])
    read_calls(tmp_path)[0]["x"][:] = 1
    assert read_calls(tmp_path)[0]["x"].tolist() == [0, 0, 0]


def test_rows_joins_scalars_to_a_vector(tmp_path: Path) -> None:
    write_calls(tmp_path, [{"x": np.array(i, np.float32)} for i in range(3)])
    assert rows(read_calls(tmp_path), "x").tolist() == [0, 1, 2]


def test_differing_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="call 1 has"):
        write_calls(tmp_path, [{"x": np.zeros(1)}, {"y": np.zeros(1)}])


@pytest.mark.parametrize("value", [None, 1.5, {"a": 1}, float("nan")])
def test_objects_that_are_not_text_are_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(TypeError, match="string array holds"):
        write_calls(tmp_path, [{"x": np.array(["a", value], object)}])


def test_dates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="datetime64"):
        write_calls(tmp_path, [{"x": np.array(["2020-01-01"], "M8[D]")}])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"format":1', '"format":2'),
        ('"bytes":32', '"bytes":31'),
        ("[4],0,32", "[4],8,32"),
        ("[4],0,32", "[5],0,32"),
        ("[4],0,32", "[-4],0,32"),
        ('"float64"', '"object"'),
        ('"float64"', '"string"'),
        ('"names":["x"]', '"names":["x","y"]'),
        ("{", "["),
    ],
)
def test_damage_is_noticed(tmp_path: Path, old: str, new: str) -> None:
    write_calls(tmp_path, [{"x": np.zeros(4)}])
    index = tmp_path / INDEX
    text = index.read_text()
    assert old in text
    index.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=INDEX):
        read_calls(tmp_path)
