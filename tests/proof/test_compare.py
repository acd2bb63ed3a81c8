"""Error measures against straightforward numpy, over several calls, with NaN, infinities, empties and other kinds."""

from __future__ import annotations

import math

import ml_dtypes
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.proof.compare import Comparison, cosines, measure
from onnxbuild.proof.frontier import EMPTY, extend_frontier
from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.proof.percentile import Percentile

NAN, INF = math.nan, math.inf


def one(reference: object, model: object, dtype: str = "float32", **options: object) -> OutputMeasures:
    pair = np.asarray(reference, dtype), np.asarray(model, dtype)
    return measure("y", [pair], **options)  # type: ignore[arg-type]


def random_pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.RandomState(0)
    pairs = []
    for rows in (3, 1, 8):
        reference = random.standard_normal((rows, 5)).astype(np.float32)
        pairs.append((reference, reference + random.standard_normal((rows, 5)).astype(np.float32) * 1e-2))
    return pairs


def test_measures_over_all_elements_of_all_calls() -> None:
    pairs = random_pairs()
    found = measure("y", pairs, within=[(1e-3, 1e-2)])
    r, x = (np.concatenate(side).astype(np.float64) for side in zip(*pairs, strict=True))
    d = np.abs(x - r)
    assert (found.elements, found.dtype, found.name) == (60, "float32", "y")
    assert found.max_abs == d.max()
    assert found.mean_abs == pytest.approx(d.mean())
    assert found.p99_abs == np.quantile(d, 0.99, method="inverted_cdf")
    assert found.max_rel == (d / np.abs(r)).max()
    assert found.mean_rel == pytest.approx((d / np.abs(r)).mean())
    assert found.p99_rel == np.quantile(d / np.abs(r), 0.99, method="inverted_cdf")
    worst = (r * x).sum(1) / np.linalg.norm(r, axis=1) / np.linalg.norm(x, axis=1)
    assert found.cosine == pytest.approx(worst.min(), rel=1e-12)
    assert found.sqnr_db == pytest.approx(10 * np.log10((r**2).sum() / (d**2).sum()))
    assert found.argmax_agreement == np.mean(r.argmax(1) == x.argmax(1))
    assert found.worst_sample == d.max(axis=1).argmax()
    assert found.within[0].share == np.mean(d <= 1e-3 + 1e-2 * np.abs(r))
    assert found.unequal == np.count_nonzero(d)
    assert sum(found.histogram) == 60


def test_equal_outputs() -> None:
    found = one([[1, 2], [0, 0]], [[1, 2], [0, 0]])
    assert (found.unequal, found.max_abs, found.mean_abs, found.max_rel) == (0, 0, 0, 0)
    assert (found.cosine, found.sqnr_db, found.argmax_agreement) == (1, "inf", 1)
    assert (found.frontier, found.worst_sample, found.histogram[0]) == ((), None, 4)


def test_nan_matches_only_nan() -> None:
    both = one([NAN, 1.0], [NAN, 1.0])
    assert (both.max_abs, both.nan_mismatches, both.unequal) == (0, 0, 0)
    lost = one([1.0, 2.0, 3.0], [NAN, 2.0, 3.5], within=[(1.0, 0.0)])
    assert (lost.max_abs, lost.mean_abs, lost.cosine, lost.sqnr_db) == ("nan",) * 4
    assert (lost.nan_mismatches, lost.unequal, lost.worst_sample) == (1, 2, 0)
    assert lost.within[0].share == pytest.approx(2 / 3)
    lost = one([NAN], [1.0])
    assert (lost.max_abs, lost.unequal, lost.nan_mismatches) == ("nan", 1, 1)


def test_equal_infinities_differ_by_nothing() -> None:
    same = one([INF, -INF, 1.0], [INF, -INF, 1.5])
    assert (same.max_abs, same.unequal, same.frontier) == (0.5, 1, ((0.5, 1.0),))
    assert same.sqnr_db == pytest.approx(10 * math.log10(1 / 0.25))


@pytest.mark.parametrize(("reference", "model"), [(INF, 1.0), (1.0, INF), (INF, -INF)])
def test_unequal_infinities_fail_every_limit(reference: float, model: float) -> None:
    found = one([[reference, 1.0]], [[model, 1.0]], within=[(1.0, 1.0)])
    assert found.max_abs == "inf"
    assert found.cosine == "nan"
    assert found.sqnr_db in ("nan", "-inf")
    assert found.within[0].share == 0.5
    assert found.histogram[16] == 1
    msgspec.json.decode(msgspec.json.encode(found), type=OutputMeasures)


def test_histogram_bins_are_powers_of_ten() -> None:
    d = [0, 1e-30, 9.9e-13, 1e-12, 1.5e-11, 0.1, 0.99, 1, 999, 1000, 1e9]
    found = one(np.zeros(len(d)), d, "float64")
    assert found.histogram == (1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 1, 2)


def test_relative_measures_leave_zero_references_out() -> None:
    found = one([0.0, 2.0], [1.0, 3.0])
    assert found.max_rel == found.mean_rel == 0.5
    assert one([0.0], [1.0]).max_rel is None


def test_rank_zero() -> None:
    found = one(2.0, 2.5)
    assert (found.elements, found.max_abs, found.cosine, found.argmax_agreement) == (1, 0.5, 1, None)


def test_no_elements() -> None:
    found = one(np.zeros((0, 4)), np.zeros((0, 4)))
    assert (found.elements, found.max_abs, found.cosine) == (0, None, None)


def test_no_elements_in_one_call() -> None:
    empty, full = np.zeros((0, 2), np.float32), np.ones((1, 2), np.float32)
    assert measure("y", [(empty, empty), (full, full)]).argmax_agreement == 1


@pytest.mark.parametrize(
    ("dtype", "other"), [("int64", "int32"), ("bool", "bool"), ("object", "object"), ("uint8", "int8")]
)
def test_integers_and_strings_are_equal_or_not(dtype: str, other: str) -> None:
    values = ["a", "b", "a"] if dtype == "object" else [0, 1, 1]
    model = np.array([values[0], values[0], values[2]], other)
    found = measure("y", [(np.array(values, dtype), model)])
    assert (found.elements, found.unequal, found.max_abs, found.frontier) == (3, 1, None, ())


def test_floats_against_integers_are_numbers() -> None:
    found = measure("y", [(np.array([1, 2]), np.array([1.0, 2.5], np.float32))])
    assert (found.max_abs, found.dtype) == (0.5, "float32")


def test_bfloat16() -> None:
    reference = np.array([[1, 2]], ml_dtypes.bfloat16)
    found = measure("y", [(reference, np.array([[2, 1]], ml_dtypes.bfloat16))])
    assert (found.max_abs, found.argmax_agreement, found.dtype) == (1, 0, "bfloat16")


def test_shape_mismatch_names_both() -> None:
    with pytest.raises(StageFailure, match=r"'y', call 0.*\[2, 3\].*\[3, 2\]"):
        one(np.zeros((3, 2)), np.zeros((2, 3)))


def test_kind_mismatch_names_both() -> None:
    with pytest.raises(StageFailure, match="gives string, the source int64"):
        measure("y", [(np.array([1]), np.array(["1"], object))])


def test_argmax_along_another_axis() -> None:
    reference = np.array([[[1.0, 1], [2, 0]]])
    model = np.array([[[1.0, 0], [2, 1]]])
    assert measure("y", [(reference, model)], axis=1).argmax_agreement == 0.5
    assert measure("y", [(reference, model)], axis=3).argmax_agreement is None
    assert one([[1.0], [2.0]], [[1.0], [2.0]]).argmax_agreement is None


def test_a_call_of_another_row_count_is_one_sample() -> None:
    comparison = Comparison("y")
    comparison.add(np.array([1.0, 0]), np.array([0.0, 1]), 1)
    comparison.add(np.array([1.0, 0]), np.array([1.0, 9]), 1)
    found = comparison.result()
    assert (found.worst_sample, found.cosine) == (1, 0)


def test_cosines_do_not_overflow() -> None:
    big = np.array([[1e200, 1e200], [0, 0], [0, 0]])
    other = np.array([[1e200, 0], [1, 0], [0, 0]])
    np.testing.assert_allclose(cosines(big, other), [math.sqrt(0.5), 0, 1])


POSITIVE = st.one_of(st.just(0.0), st.floats(0, 8).map(lambda v: round(v, 1)), st.floats(0, 1e300), st.just(INF))


@settings(max_examples=200)
@given(calls=st.lists(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=30), max_size=4))
def test_frontier_is_the_pareto_front(calls: list[list[tuple[float, float]]]) -> None:
    frontier = EMPTY
    for call in calls:
        d, size = np.array(call).T
        frontier = extend_frontier(frontier, d, size)
    points = {(d, size) for call in calls for d, size in call if 0 < d < INF}
    brute = {p for p in points if not any(q != p and q[0] >= p[0] and q[1] <= p[1] for q in points)}
    assert [tuple(p) for p in frontier.tolist()] == sorted(brute, reverse=True)


@settings(max_examples=100)
@given(
    r=arrays.arrays(np.float32, 20, elements=st.floats(-4, 4, width=32)),
    x=arrays.arrays(np.float32, 20, elements=st.floats(-4, 4, width=32)),
    atol=st.floats(0, 4),
    rtol=st.floats(0, 2),
)
def test_frontier_decides_every_elementwise_limit(r: np.ndarray, x: np.ndarray, atol: float, rtol: float) -> None:
    found = measure("y", [(r, x)], within=[(atol, rtol)])
    holds = all(d <= atol + rtol * size for d, size in found.frontier)
    assert holds == (found.within[0].share == 1)


@pytest.mark.parametrize("shape", ["proportional", "concave", "random", "relative"])
def test_many_pairs_keep_only_what_decides_limits(shape: str) -> None:
    random = np.random.RandomState(0)
    size = random.uniform(0.5, 2, 20000)
    d = {
        "proportional": size * 1e-3,
        "concave": np.sqrt(size),
        "random": random.uniform(size=size.size),
        "relative": size * random.uniform(size=size.size),
    }[shape]
    frontier = EMPTY
    for part in np.array_split(np.arange(size.size), 3):
        frontier = extend_frontier(frontier, d[part], size[part])
    assert len(frontier) < (300 if shape != "concave" else 20001)
    for rtol in (0, 1e-4, 1e-3, 0.3, 0.5, 1, 10):
        assert (frontier[:, 0] - rtol * frontier[:, 1]).max() == pytest.approx((d - rtol * size).max(), abs=1e-12)
    assert (frontier[:, 0] / frontier[:, 1]).max() == pytest.approx((d / size).max(), rel=1e-12)


@pytest.mark.parametrize("count", [1, 99, 100, 101, 5000])
def test_percentile_is_exact_for_few_and_close_for_many(count: int) -> None:
    values = np.random.RandomState(count).lognormal(size=count)
    exact = np.quantile(values, 0.99, method="inverted_cdf")
    few, many = Percentile(), Percentile(kept=50)
    for part in np.array_split(values, 7):
        few.add(part)
        many.add(part)
    assert few.result() == exact
    assert many.result() == pytest.approx(exact, rel=1e-3)
    assert Percentile().result() is None


def test_percentile_of_zeros_and_infinities_in_bins() -> None:
    many = Percentile(kept=1)
    many.add(np.zeros(1000))
    assert many.result() == 0
    many.add(np.full(1000, INF))
    assert many.result() == INF
