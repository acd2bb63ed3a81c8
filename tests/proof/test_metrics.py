"""Each metric against scikit-learn's, on seeded data with ties, and the mismatches that are refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.calls import read_calls, write_calls
from onnxbuild.proof.custom_metric import score_custom
from onnxbuild.proof.metrics import Setting, decide_threshold, score
from onnxbuild.recipe.types import Function

N, CLASSES = 60, 4


def scores(columns: int = CLASSES, seed: int = 0) -> np.ndarray:
    """Scores rounded to one digit, so that there are ties."""
    return np.random.RandomState(seed).uniform(0, 1, (N, columns)).round(1).astype(np.float32)


def classes(count: int = CLASSES, seed: int = 1) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, count, N)


def run(name: str, output: np.ndarray, labels: np.ndarray, **options: object) -> float:
    """Score `output` in calls of 7 rows."""
    calls = [output[start : start + 7] for start in range(0, len(output), 7)]
    return score(Setting(name=name, **options), calls, labels)  # type: ignore[arg-type]


@pytest.fixture
def sk() -> object:
    return pytest.importorskip("sklearn.metrics")


@pytest.mark.sklearn
@pytest.mark.parametrize("name", ["accuracy", "f1", "precision", "recall"])
@pytest.mark.parametrize("labels", ["scores", "int64", "string"])
def test_class_metrics_match_sklearn(sk: object, name: str, labels: str) -> None:
    truth, output = classes(), scores()
    predicted = output.argmax(1)
    if labels != "scores":
        output = predicted if labels == "int64" else predicted.astype(str).astype(object)
    if labels == "string":
        truth, predicted = truth.astype(str).astype(object), predicted.astype(str)
    expected = {
        "accuracy": lambda: sk.accuracy_score(truth, predicted),  # type: ignore[attr-defined]
        "f1": lambda: sk.f1_score(truth.astype(str), predicted.astype(str), average="macro"),  # type: ignore[attr-defined]
        "precision": lambda: sk.precision_score(  # type: ignore[attr-defined]
            truth.astype(str), predicted.astype(str), average="macro", zero_division=0
        ),
        "recall": lambda: sk.recall_score(truth.astype(str), predicted.astype(str), average="macro", zero_division=0),  # type: ignore[attr-defined]
    }[name]()
    assert run(name, output, truth) == pytest.approx(expected, abs=1e-12)


@pytest.mark.sklearn
@pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 2)])
def test_binary_metrics_match_sklearn(sk: object, shape: tuple[int, ...]) -> None:
    truth = classes(2)
    positive = scores(1)[:, 0]
    output = np.stack([1 - positive, positive], 1) if shape == (N, 2) else positive.reshape(shape)
    predicted = output.argmax(1) if shape == (N, 2) else positive > 0.5
    assert run("accuracy", output, truth) == sk.accuracy_score(truth, predicted)  # type: ignore[attr-defined]
    assert run("f1", output, truth) == pytest.approx(sk.f1_score(truth, predicted))  # type: ignore[attr-defined]
    assert run("f1", output, truth, average="macro") == pytest.approx(
        sk.f1_score(truth, predicted, average="macro")  # type: ignore[attr-defined]
    )
    assert run("precision", output, truth) == pytest.approx(sk.precision_score(truth, predicted))  # type: ignore[attr-defined]
    assert run("recall", output, truth) == pytest.approx(sk.recall_score(truth, predicted))  # type: ignore[attr-defined]
    assert run("roc_auc", output, truth) == pytest.approx(sk.roc_auc_score(truth, positive))  # type: ignore[attr-defined]


@pytest.mark.sklearn
def test_multi_class_roc_auc_matches_sklearn(sk: object) -> None:
    output = scores() + 0.01
    output = output / output.sum(1, keepdims=True)
    expected = sk.roc_auc_score(classes(), output, multi_class="ovr")  # type: ignore[attr-defined]
    assert run("roc_auc", output, classes()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.sklearn
@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k_matches_sklearn(sk: object, k: int) -> None:
    expected = sk.top_k_accuracy_score(classes(), scores(), k=k)  # type: ignore[attr-defined]
    assert run("top_k", scores(), classes(), k=k) == expected


@pytest.mark.sklearn
@pytest.mark.parametrize("columns", [1, 3])
def test_regression_metrics_match_sklearn(sk: object, columns: int) -> None:
    truth, output = scores(columns, 5), scores(columns, 6)
    assert run("mae", output, truth) == pytest.approx(sk.mean_absolute_error(truth, output))  # type: ignore[attr-defined]
    assert run("rmse", output, truth) == pytest.approx(sk.root_mean_squared_error(truth, output))  # type: ignore[attr-defined]
    assert run("r2", output, truth) == pytest.approx(sk.r2_score(truth, output))  # type: ignore[attr-defined]


@pytest.mark.sklearn
def test_r2_of_constant_labels_matches_sklearn(sk: object) -> None:
    constant, output = np.full((N, 1), 2.0), scores(1)
    for predicted in (output, constant):
        assert run("r2", predicted, constant) == sk.r2_score(constant, predicted)  # type: ignore[attr-defined]
    assert math.isnan(run("r2", output[:1], constant[:1]))


def test_labels_of_one_column_fit_an_output_of_one_column() -> None:
    assert run("mae", np.ones((N, 1), np.float32), np.zeros(N)) == 1


def test_cosine_is_the_mean_over_samples() -> None:
    assert run("cosine", np.array([[1.0, 0], [0, 2]]), np.array([[3.0, 0], [1, 0]])) == 0.5


def test_axis_holds_the_classes() -> None:
    labels = np.random.RandomState(0).randint(0, 3, (14, 5))
    output = np.moveaxis(np.eye(3)[labels], -1, 1)  # [14, 3, 5], classes second
    assert run("accuracy", output, labels, axis=1) == 1
    with pytest.raises(StageFailure, match="axis 4 is not in"):
        run("accuracy", output, labels, axis=4)


def test_labels_over_calls_of_differing_lengths() -> None:
    outputs = [np.eye(2)[[0, 1, 1]][None], np.eye(2)[[1, 0]][None]]
    assert score(Setting(name="accuracy"), outputs, np.array([0, 1, 0, 1, 0])) == 0.8


@pytest.mark.parametrize("labels", [np.zeros(N, int), np.ones(N, int)])
def test_roc_auc_of_one_class_is_nan(labels: np.ndarray) -> None:
    assert math.isnan(run("roc_auc", scores(1), labels))


def test_roc_auc_of_an_absent_class_is_nan() -> None:
    assert math.isnan(run("roc_auc", scores(), classes(3)))


def test_nan_scores_count_as_wrong() -> None:
    output, labels = np.zeros((4, 2)), np.zeros(4, int)
    output[0, 1] = np.nan
    assert run("accuracy", output, labels) == 0.75
    assert run("accuracy", np.array([0.1, np.nan]), np.array([0, 0])) == 0.5
    assert run("top_k", np.array([[np.nan, 1.0]]), np.array([0]), k=1) == 0
    assert math.isnan(run("roc_auc", np.array([0.1, np.nan]), np.array([0, 1])))
    assert math.isnan(run("mae", np.array([np.nan]), np.array([0])))


def test_threshold_is_that_of_probabilities_or_logits() -> None:
    assert decide_threshold([np.array([0.0, 1.0]), np.array([0.3])]) == 0.5
    assert decide_threshold([np.array([0.5]), np.array([-3.0])]) == 0
    assert run("accuracy", np.array([0.2, -1]), np.array([1, 0]), threshold=0.0) == 1
    assert run("accuracy", np.array([0.2, 0.1]), np.array([1, 0]), threshold=0.5) == 0.5


@pytest.mark.parametrize(
    ("name", "output", "labels", "words"),
    [
        ("accuracy", scores(), classes() + 1, "labels run from 1 to 4, the output has classes 0 to 3"),
        ("accuracy", scores(), classes()[:-1], "59 labels and the outputs make 60"),
        ("accuracy", scores(), classes().astype(str).astype(object), "name the output that holds the classes"),
        ("accuracy", scores(), classes() + 0.5, "not whole numbers"),
        ("accuracy", scores(1), classes(), "not just 0 and 1"),
        ("accuracy", classes(), classes().astype(str).astype(object), "output holds numbers, the labels are strings"),
        ("top_k", scores(), classes(), "k 5 of 4 classes is always 1"),
        ("roc_auc", scores(), classes()[:-1], "59 labels"),
        ("roc_auc", classes().astype(str).astype(object), classes(), "output holds strings"),
        ("mae", scores(), classes(), "60 labels and the outputs make 240"),
        ("mae", scores(1), classes().astype(str).astype(object), "labels holds strings"),
    ],
)
def test_mismatches_are_refused(name: str, output: np.ndarray, labels: np.ndarray, words: str) -> None:
    with pytest.raises(StageFailure, match=words):
        run(name, output, labels)


def test_top_k_with_too_few_labels_is_refused() -> None:
    with pytest.raises(StageFailure, match="labels"):
        run("top_k", scores(), classes()[:-1], k=2)


def test_binary_average_of_many_classes_is_refused() -> None:
    with pytest.raises(StageFailure, match="average: macro"):
        run("f1", scores(), classes(), average="binary")


def custom(folder: Path, body: str, calls: list[dict[str, np.ndarray]], labels: np.ndarray | None = None) -> float:
    (folder / "my_metrics.py").write_text(
        f"import numpy as np\ndef metric(outputs, labels, inputs, scale=1):\n    {body}\n"
    )
    write_calls(folder / "calls", calls)
    stored = read_calls(folder / "calls")
    function = Function("my_metrics.py", "metric", {"scale": 2})
    return score_custom(folder / "my_metrics.py", function, stored, labels, stored)


def test_custom_metric_gets_everything_at_once(tmp_path: Path) -> None:
    calls = [{"y": np.full((rows, 2), rows, np.float32)} for rows in (1, 3)]
    body = "return np.float32(scale * (outputs['y'][:, 0] == labels).mean() + len(inputs['y']))"
    assert custom(tmp_path, body, calls, np.array([1, 3, 3, 0])) == 5.5


def test_custom_metric_gets_lists_where_dims_differ(tmp_path: Path) -> None:
    calls = [{"y": np.zeros((1, length), np.float32)} for length in (2, 5)]
    assert custom(tmp_path, "return sum(a.size for a in outputs['y']) if labels is None else 0", calls) == 7


@pytest.mark.parametrize("body", ["return 'good'", "return None", "return [1.0]", "return True"])
def test_custom_metric_must_return_a_number(tmp_path: Path, body: str) -> None:
    with pytest.raises(StageFailure, match="must return one number"):
        custom(tmp_path, body, [{"y": np.zeros((1, 1))}])


def test_custom_metric_that_raises_shows_the_users_traceback(tmp_path: Path) -> None:
    with pytest.raises(StageFailure, match="KeyError") as caught:
        custom(tmp_path, "return outputs['nope']", [{"y": np.zeros((1, 1))}])
    assert "my_metrics.py" in (caught.value.traceback or "")
