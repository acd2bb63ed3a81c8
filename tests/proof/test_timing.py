"""Samples and what they come to, with a clock of the test's own: no time is measured here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from onnxbuild.proof.estimates import _student, latency_of, middle_of, versus_of
from onnxbuild.proof.sampling import LEAST, MOST, alternate, collect, warm_up
from onnxbuild.proof.timing import Estimate

MS = 1_000_000


class Clock:
    """Time that passes only while a call runs, by as much as is said."""

    def __init__(self) -> None:
        self.now = 0
        self.log: list[str] = []

    def __call__(self) -> int:
        return self.now

    def run(self, name: str, durations: Iterator[int]) -> Callable[[], None]:
        def call() -> None:
            self.log.append(name)
            self.now += next(durations)

        return call


def always(duration: int) -> Iterator[int]:
    while True:
        yield duration


def test_every_run_within_the_time_is_kept() -> None:
    clock = Clock()
    assert collect(clock.run("a", always(10 * MS)), clock, 0.5) == [10 * MS] * 50


def test_slow_and_fast_calls_are_bounded() -> None:
    clock = Clock()
    assert len(collect(clock.run("a", always(3000 * MS)), clock, 0.5)) == LEAST
    assert len(collect(clock.run("a", always(100)), clock, 0.5)) == MOST


def test_warm_up_ends_when_two_windows_agree() -> None:
    clock = Clock()
    slow_then_steady = iter([50 * MS] * 5 + [20 * MS] * 5 + [10 * MS] * 1000)
    assert warm_up(clock.run("a", slow_then_steady), clock, 60) == 20


def test_warm_up_ends_when_its_time_is_up() -> None:
    clock = Clock()
    faster = (int(1000 * MS * 0.9**n) for n in range(1000))
    warm_up(clock.run("a", faster), clock, 0.5)
    assert len(clock.log) == 5


def test_both_sides_go_first_in_turn() -> None:
    clock = Clock()
    own, other = alternate(clock.run("a", always(10 * MS)), clock.run("b", always(20 * MS)), clock, 0.3)
    assert "".join(clock.log) == "abba" * 5
    assert (own, other) == ([10 * MS] * 10, [20 * MS] * 10)


def samples(count: int, middle: float = 5.0, spread: float = 0.3, seed: int = 0) -> list[int]:
    drawn = np.random.default_rng(seed).gamma(9.0, size=count) / 9 * spread * middle + (1 - spread) * middle
    return [int(t * MS) for t in drawn]


def test_latency_tells_what_the_samples_say() -> None:
    drawn = samples(4000)
    found = latency_of(drawn, 8)
    times = np.array(drawn) / MS
    assert found.runs == 4000
    assert found.p95.value == pytest.approx(np.percentile(times, 95), rel=1e-5)
    assert (found.min, found.max) == pytest.approx((times.min(), times.max()), rel=1e-5)
    assert (found.mean, found.std) == pytest.approx((times.mean(), times.std(ddof=1)), rel=1e-5)
    assert found.throughput == pytest.approx(8000 / times.mean(), rel=1e-5)
    assert len(found.curve) == 201
    assert found.curve[100] == found.p50.value
    assert list(found.curve) == sorted(found.curve)
    assert latency_of(drawn, 8) == found, "the same samples come to the same"


@pytest.mark.parametrize("percentile", ["p50", "p95", "p99"])
def test_intervals_hold_the_truth_as_often_as_they_say(percentile: str) -> None:
    truth = np.percentile(np.array(samples(1_000_000, seed=99)) / MS, int(percentile[1:]))
    held = 0
    for seed in range(25):
        estimate = latency_of(samples(1000, seed=seed), 1).percentile(percentile)
        assert estimate.low <= estimate.value
        held += estimate.low <= truth <= (estimate.high or np.inf)
    assert held >= 23


def test_few_samples_do_not_bound_the_tail() -> None:
    found = latency_of(samples(300), 1)
    assert found.p95.high is not None
    assert found.p99.high is None
    assert not found.p99.decides(1000.0)
    assert latency_of(samples(500), 1).p99.high is not None


def test_slow_moments_widen_the_interval() -> None:
    calm = samples(2000, spread=0.05)
    rough = [t * (2 if (n // 200) % 3 == 0 else 1) for n, t in enumerate(calm)]
    shuffled = [rough[n] for n in np.random.default_rng(1).permutation(2000)]

    def width(estimate: Estimate) -> float:
        assert estimate.high is not None
        return estimate.high - estimate.low

    assert width(latency_of(rough, 1).p50) > 2 * width(latency_of(shuffled, 1).p50)


def test_ratio_is_of_medians_and_its_interval_says_whether_it_is_real() -> None:
    own, other = samples(1000, 5.0, seed=1), samples(1000, 6.0, seed=2)
    found = versus_of(own, other, 4)
    assert found.ratio.value == pytest.approx(np.median(other) / np.median(own), rel=1e-5)
    assert found.ratio.decides(1.0)
    assert found.ratio.decides(1.5)
    assert not found.ratio.decides(found.ratio.value)
    assert (found.rounds, found.own.batch, found.other.p50.value) == (1000, 4, found.other.curve[100])


def test_no_difference_is_rarely_taken_for_one() -> None:
    pairs = [(samples(1000, 5.0, seed=2 * n), samples(1000, 5.0, seed=2 * n + 1)) for n in range(20)]
    assert sum(versus_of(own, other, 1).ratio.decides(1.0) for own, other in pairs) <= 2


@pytest.mark.parametrize("rounds", [300, 4000, 20_000])
def test_going_first_is_no_gain_however_many_rounds_there_are(rounds: int) -> None:
    """Who goes first finds its caches warm; half of the rounds have the other side first."""
    rng = np.random.default_rng(1)
    first, second = rng.normal(1000, 3, rounds), rng.normal(1020, 3, rounds)
    even = np.arange(rounds) % 2 == 0
    own, other = np.where(even, first, second), np.where(even, second, first)
    ratio = versus_of(own.astype(int).tolist(), other.astype(int).tolist(), 1).ratio
    assert not ratio.decides(1.0)


def test_luck_of_an_opening_is_no_gain() -> None:
    """Each pair of sessions differs a little by itself; only what all have in common is a gain."""
    rng = np.random.default_rng(3)
    decided = 0
    for _ in range(100):
        luck = rng.normal(1, 0.004, (8, 1))
        own, other = rng.normal(1000, 3, (8, 500)), luck * rng.normal(1000, 3, (8, 500))
        flat = [side.astype(int).ravel().tolist() for side in (own, other)]
        decided += versus_of(*flat, 1, [500] * 8).ratio.decides(1.0)
    assert decided <= 5
    faster = versus_of(flat[0], (np.array(flat[1]) * 1.02).astype(int).tolist(), 1, [500] * 8).ratio
    assert faster.low > 1


@pytest.mark.parametrize("percentile", ["p50", "p95"])
def test_luck_of_an_opening_is_in_the_interval(percentile: str) -> None:
    """A session is faster or slower by itself; an interval of its runs alone knows nothing of the next session."""
    rng, held, blind = np.random.default_rng(4), 0, 0

    def runs(sessions: int, each: int) -> np.ndarray:
        return rng.normal(1, 0.007, (sessions, 1)) * rng.normal(1000, 12, (sessions, each))

    truth = float(np.percentile(runs(500_000, 1), int(percentile[1:]))) / MS
    for _ in range(60):
        taken = runs(8, 400).ravel().astype(int).tolist()
        several, one = (latency_of(taken, 1, each).percentile(percentile) for each in ([400] * 8, ()))
        held += several.low <= truth <= (several.high or np.inf)
        blind += one.low <= truth <= (one.high or np.inf)
    assert held >= 55
    assert blind < 45


def test_one_slow_opening_widens_and_does_not_unbound() -> None:
    """As where another program ran for a moment: then a limit far above everything is met all the same."""
    rng = np.random.default_rng(5)
    runs = np.array([1, 1, 1, 1, 1, 1, 1, 4])[:, None] * rng.normal(1000, 10, (8, 400))
    taken = runs.ravel().astype(int).tolist()
    found = latency_of(taken, 1, [400] * 8)
    assert found.p50.high is not None
    assert found.p50.low < 0.7 * found.p50.value < 1.5 * found.p50.value < found.p50.high
    assert found.p50.decides(20 * found.p50.value)
    ratio = versus_of([1000] * 3200, taken, 1, [400] * 8).ratio
    assert ratio.high is not None
    assert (ratio.decides(1.0), ratio.decides(20.0)) == (False, True)


@pytest.mark.parametrize(("freedom", "exact"), [(7, 3.4995), (15, 2.9467), (31, 2.7440), (63, 2.6561)])
def test_students_t_is_as_in_the_tables(freedom: int, exact: float) -> None:
    assert _student(freedom) == pytest.approx(exact, rel=0.003)


def test_openings_that_all_agree_have_no_spread() -> None:
    assert versus_of([100] * 80, [150] * 80, 1, [10] * 8).ratio == Estimate(1.5, 1.5, 1.5)


def test_what_slows_both_does_not_blur_the_ratio() -> None:
    factor = np.repeat(np.random.default_rng(5).uniform(1, 3, size=20), 50)
    own = (np.array(samples(1000, 5.0, 0.05, seed=1)) * factor).astype(int).tolist()
    other = (np.array(samples(1000, 5.5, 0.05, seed=2)) * factor).astype(int).tolist()
    assert versus_of(own, other, 1).ratio.decides(1.0)


def test_limits_are_decided_by_whole_intervals() -> None:
    estimate = Estimate(2.0, 1.5, 2.5)
    assert [estimate.decides(limit) for limit in (1.4, 1.5, 1.6, 2.4, 2.5, 2.6)] == [
        True,
        True,
        False,
        False,
        True,
        True,
    ]
    assert [Estimate(2.0, 1.5, None).decides(limit) for limit in (1.0, 3.0)] == [True, False]
    assert middle_of([3, 9, 4]) == Estimate(4.0, 3.0, 9.0)
