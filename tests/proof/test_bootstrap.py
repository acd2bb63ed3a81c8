"""Intervals of metrics: as drawing whole samples one by one gives them, narrow where they should be, repeatable."""

from __future__ import annotations

import numpy as np
import pytest

from onnxbuild.proof.bootstrap import metric_intervals
from onnxbuild.proof.gates import Verdict, describe_doubt, judge_metric
from onnxbuild.proof.measures import MetricIntervals
from onnxbuild.proof.metrics import Scorer, Setting
from onnxbuild.proof.paired_sums import paired_sums
from onnxbuild.recipe.types import Bound

N = 200
HIGHER = {"mae": False, "rmse": False}


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def scored(name: str, output: np.ndarray, labels: np.ndarray, **options: object) -> Scorer:
    scorer = Scorer(Setting(name=name, **options), labels)  # type: ignore[arg-type]
    scorer.add(output)
    return scorer


def data(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, the source's outputs and the model's, a little worse."""
    rng = random()
    if name in ("mae", "rmse", "r2", "cosine"):
        labels = rng.normal(size=(N, 3))
        source = labels + rng.normal(size=(N, 3)) * 0.3
        return labels, source, source + rng.normal(size=(N, 3)) * 0.1
    labels = rng.integers(0, 4, N)
    source = rng.normal(size=(N, 4)) + 2 * np.eye(4)[labels]
    return labels, source, source + rng.normal(size=(N, 4)) * 0.5


def intervals(name: str, **options: object) -> MetricIntervals:
    labels, source, model = data(name)
    found = metric_intervals(
        name,
        scored(name, model, labels, **options).aligned(),
        scored(name, source, labels, **options).aligned(),
        len(labels),
        HIGHER.get(name, True),
    )
    assert found is not None
    return found


KNOWN = ["accuracy", "top_k", "f1", "precision", "recall", "roc_auc", "mae", "rmse", "r2", "cosine"]


@pytest.mark.parametrize("name", KNOWN)
def test_intervals_are_those_of_drawing_samples_one_by_one(name: str) -> None:
    labels, source, model = data(name)
    options = {"k": 2} if name == "top_k" else {}
    rng, draws = random(1), []
    for _ in range(400):
        drawn = rng.integers(0, N, N)
        draws.append([scored(name, out[drawn], labels[drawn], **options).result() for out in (model, source)])
    ours, theirs = np.array(draws).T
    found = intervals(name, **options)
    worse = theirs - ours if HIGHER.get(name, True) else ours - theirs
    for interval, naive in ((found.value, ours), (found.drop, worse), (found.ratio, ours / theirs)):
        assert interval is not None
        # The ends of 400 draws wobble by a seventh of a deviation, those of ours by a tenth.
        np.testing.assert_allclose(interval, np.quantile(naive, (0.025, 0.975)), atol=0.6 * naive.std())


@pytest.mark.parametrize("name", [name for name in KNOWN if name != "roc_auc"])
def test_the_sums_of_all_samples_give_the_metric_itself(name: str) -> None:
    labels, source, model = data(name)
    options = {"k": 2} if name == "top_k" else {}
    scorers = [scored(name, out, labels, **options) for out in (model, source)]
    ours, theirs = (scorer.aligned() for scorer in scorers)
    assert ours is not None
    assert theirs is not None
    paired = paired_sums(name, ours, theirs, N)
    for rows, scorer in ((paired.model, scorers[0]), (paired.source, scorers[1])):
        assert paired.formula((paired.counts @ rows)[None])[0] == pytest.approx(scorer.result(), abs=1e-12)


def test_intervals_are_the_same_each_time() -> None:
    assert intervals("mae") == intervals("mae")


def test_a_model_that_answers_as_its_source_has_no_width_in_drop_and_ratio() -> None:
    labels, source, _ = data("accuracy")
    aligned = scored("accuracy", source, labels).aligned()
    found = metric_intervals("accuracy", aligned, aligned, N, True)
    assert found is not None
    assert found.drop == (0, 0)
    assert found.ratio == (1, 1)
    assert found.value[0] < found.value[1]


def test_pairing_makes_the_drop_narrower_than_the_values() -> None:
    found = intervals("rmse")
    assert np.ptp(found.drop) < 0.6 * np.ptp(found.value)


def test_predictions_of_one_sample_stay_together() -> None:
    """Pixels of an image are right or wrong together: taken for samples they would make the interval too narrow."""
    labels = np.repeat(random().integers(0, 2, 50), 100).reshape(50, 100)
    predicted = np.where(random(1).uniform(size=(50, 1)) < 0.8, labels, 1 - labels)
    aligned = scored("accuracy", predicted, labels).aligned()
    together = metric_intervals("accuracy", aligned, aligned, 50, True)
    apart = metric_intervals("accuracy", aligned, aligned, 5000, True)
    assert together is not None
    assert apart is not None
    assert np.ptp(together.value) > 5 * np.ptp(apart.value)
    f1 = [scored("f1", predicted, labels).aligned()] * 2
    wide = metric_intervals("f1", *f1, 50, True)
    assert wide is not None
    assert np.ptp(wide.value) > 5 * np.ptp(apart.value)


def test_one_class_only_or_one_sample_has_no_interval() -> None:
    scores = random().uniform(size=20)
    aligned = scored("roc_auc", scores, np.zeros(20, np.int64)).aligned()
    assert metric_intervals("roc_auc", aligned, aligned, 20, True) is None
    one = scored("accuracy", np.eye(3)[:1], np.array([0])).aligned()
    assert metric_intervals("accuracy", one, one, 1, True) is None


def test_many_samples_are_added_up_in_groups() -> None:
    labels = random().normal(size=(50_000, 1))
    aligned = scored("mae", labels + 1, labels).aligned()
    assert aligned is not None
    paired = paired_sums("mae", aligned, aligned, 50_000)
    assert paired.model.shape == (10_000, 2)
    assert paired.model[:, 0].sum() == 50_000


INTERVALS = MetricIntervals(value=(0.90, 0.96), drop=(-0.01, 0.03), ratio=(0.97, 1.01), resamples=1000)


@pytest.mark.parametrize(
    ("bound", "interval", "undecided"),
    [
        (Bound(kind="at_least", value=0.95), (0.90, 0.96), True),
        (Bound(kind="at_least", value=0.89), (0.90, 0.96), False),
        (Bound(kind="max_drop", value=0.02), (-0.01, 0.03), True),
        (Bound(kind="max_drop", value=0.05), (-0.01, 0.03), False),
        (Bound(kind="at_least", value=0.99, of="source"), (0.97, 1.01), True),
        (Bound(kind="at_least", value=0.9, of="source"), (0.97, 1.01), False),
    ],
)
def test_each_kind_of_limit_has_its_own_interval(bound: Bound, interval: tuple[float, float], undecided: bool) -> None:
    gate = judge_metric(bound, 0.94, 0.945, True, "cpu", intervals=INTERVALS)
    assert gate.interval == interval
    assert (gate.warning is not None) == undecided


def test_doubt_changes_no_verdict_and_is_worded() -> None:
    gate = judge_metric(Bound(kind="at_least", value=0.95), 0.955, 0.96, True, "cpu", intervals=INTERVALS)
    assert (gate.verdict, gate.warning) == (Verdict.PASSED, "data-cannot-decide")
    assert "the data cannot decide" in describe_doubt(gate)
    assert "95% interval 0.9 to 0.96" in describe_doubt(gate)
