"""Ranking: the exact k smallest magnitudes over tensors, against numpy's sort."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxbuild.ir import ranking

values = st.floats(allow_nan=False, width=32) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 5e-324])


@given(st.lists(st.lists(values, min_size=1, max_size=9), min_size=1, max_size=4), st.floats(0, 1))
def test_the_smallest_go_and_the_first_of_equals(rows: list[list[float]], sparsity: float) -> None:
    arrays = [np.array(row, np.float32) for row in rows]
    cuts = ranking.cut([ir.Tensor(array) for array in arrays], sparsity)
    masks = np.concatenate([ranking.mask_below(a, c) for a, c in zip(arrays, cuts, strict=True)])
    together = np.concatenate(arrays)
    wanted = round(sparsity * together.size)
    expected = np.zeros(together.size, dtype=bool)
    expected[np.argsort(np.abs(together), kind="stable")[:wanted]] = True
    np.testing.assert_array_equal(masks, expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_every_float_type_and_more_than_one_block(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "BLOCK", 7)
    array = np.random.default_rng(0).standard_normal((5, 10)).astype(dtype)
    (cut,) = ranking.cut([ir.Tensor(array)], 0.3)
    mask = ranking.mask_below(array, cut)
    assert mask.sum() == 15
    assert np.abs(array[mask]).max() < np.abs(array[~mask]).min()


def test_doubles_are_told_apart_beyond_single_precision() -> None:
    array = np.array([1.0 + 2**-40, 1.0, 1.0 + 2**-30])
    (cut,) = ranking.cut([ir.Tensor(array)], 1 / 3)
    np.testing.assert_array_equal(ranking.mask_below(array, cut), [False, True, False])
