"""Example inputs: within what is declared, told apart by a tracer, and the same each time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onnxbuild.recipe.types import Axis, Input
from onnxbuild.sources.example import example_array, example_sizes


@st.composite
def axes(draw):
    step = draw(st.integers(1, 9))
    first = draw(st.integers(1, 50))
    low = first * step - draw(st.integers(0, step - 1))
    return Axis(min=max(low, 1), max=first * step + draw(st.integers(0, 200)), multiple_of=step)


@given(st.dictionaries(st.sampled_from("abcd"), axes(), min_size=1))
def test_sizes_fit_every_declared_range(declared):
    for name, size in example_sizes(declared, []).items():
        axis = declared[name]
        assert axis.min <= size <= axis.max
        assert size % axis.multiple_of == 0


def test_sizes_differ_from_each_other_from_fixed_dims_and_from_those_to_avoid():
    inputs = [Input(name="x", dtype="float32", shape=("a", 7, "b"))]
    declared = {"a": Axis(max=64), "b": Axis(max=64)}
    first = example_sizes(declared, inputs)
    second = example_sizes(declared, inputs, avoid=first.values())
    assert len({7, *first.values(), *second.values()}) == 5
    assert min(*first.values(), *second.values()) >= 2


def test_an_axis_of_size_one_is_one():
    assert example_sizes({"a": Axis(max=1)}, []) == {"a": 1}


def test_arrays_keep_to_dtype_shape_and_range():
    x = Input(name="x", dtype="float32", shape=("a", 50), range=(-2.0, 3.0))
    array = example_array(x, {"a": 4})
    assert (array.dtype, array.shape) == (np.float32, (4, 50))
    assert array.min() >= -2
    assert array.max() <= 3
    assert np.ptp(array) > 4
    np.testing.assert_array_equal(array, example_array(x, {"a": 4}))
    ids = example_array(Input(name="i", dtype="int64", shape=(9,), range=(3, 5)), {})
    assert set(ids.tolist()) == {3, 4, 5}
    assert example_array(Input(name="b", dtype="bool", shape=(4,)), {}).dtype == bool
    assert example_array(Input(name="s", dtype="string", shape=(2, 1)), {}).tolist() == [["0"], ["1"]]
