"""The validate stage on a small model: measures, metrics of model and source, custom metrics, and refusals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.calls import Call, write_calls
from onnxbuild.recipe.types import Function, Metric, Session
from onnxbuild.stages.stage import Workspace
from onnxbuild.stages.validate import VALIDATE, ValidateFacts, ValidateParams, Within

WEIGHT = np.array([[1, 0, 0.5], [0, 1, 0.5]], np.float32)


def write_model(folder: Path) -> None:
    """y = x @ WEIGHT and the index of its largest column."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("ArgMax", ["y"], ["label"], axis=-1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]),
        ],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    folder.mkdir(parents=True)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx"
    )


def source(x: np.ndarray) -> dict[str, np.ndarray]:
    """What the source is taken to give: the model's outputs, a little off in one element of one row."""
    y = x @ WEIGHT
    y[0, 0] += np.float32(0.25)
    return {"y": y, "label": y.argmax(1)}


CALLS = [{"x": np.array(rows, np.float32)} for rows in ([[1, 0], [0, 1], [3, 1]], [[0, 2]])]
LABELS = np.array([0, 1, 1, 1])


def workspace(
    folder: Path, calls: Sequence[Call] = CALLS, labels: np.ndarray | None = LABELS, **files: Path
) -> Workspace:
    write_model(folder / "model")
    write_calls(folder / "calls", calls)
    write_calls(folder / "reference", [source(call["x"]) for call in calls])
    inputs = {name: folder / name for name in ("model", "calls", "reference")}
    if labels is not None:
        write_calls(folder / "labels", [{"labels": labels}])
        inputs["labels"] = folder / "labels"
    for name in ("out", "scratch"):
        (folder / name).mkdir()
    return Workspace(inputs=inputs, files=files, out=folder / "out", scratch=folder / "scratch", recipe_folder=folder)


def run(work: Workspace, metric: Metric | None = None, **options: object) -> ValidateFacts:
    defaults = {"provider": "cpu", "session": Session(), "output": None, "axis": -1, "average": None, "k": 2}
    params = ValidateParams(metric=metric, **{**defaults, **options})  # type: ignore[arg-type]
    return VALIDATE.run(params, work)


def test_measures_and_metric_of_model_and_source(tmp_path: Path) -> None:
    within = (Within(output="y", atol=0.125, rtol=0.0), Within(output="label", atol=0.0, rtol=0.0))
    facts = run(workspace(tmp_path), Metric(name="accuracy"), within=within)
    assert (facts.calls, facts.samples) == (2, 4)
    y, label = facts.outputs
    assert (y.name, y.elements, y.max_abs, y.unequal, y.worst_sample) == ("y", 12, 0.25, 2, 0)
    assert y.within[0].share == 10 / 12
    assert (label.name, label.dtype, label.elements, label.unequal) == ("label", "int64", 4, 0)
    assert facts.metric is not None
    assert (facts.metric.name, facts.metric.model, facts.metric.source) == ("accuracy", 0.75, 0.75)


def test_metric_of_a_named_output(tmp_path: Path) -> None:
    facts = run(workspace(tmp_path, labels=np.array([0, 1, 0, 1])), Metric(name="accuracy"), output="label")
    assert facts.metric is not None
    assert facts.metric.model == 1


def test_model_and_source_are_scored_apart(tmp_path: Path) -> None:
    x = [np.array([[1, 1.1]], np.float32)]  # the source's 0.25 turns the winner
    facts = run(workspace(tmp_path, [{"x": x[0]}], np.array([1])), Metric(name="accuracy"))
    assert facts.metric is not None
    assert (facts.metric.model, facts.metric.source) == (1, 0)


def test_an_undefined_metric_is_none(tmp_path: Path) -> None:
    facts = run(workspace(tmp_path, labels=np.zeros(4, np.int64)), Metric(name="roc_auc"))
    assert facts.metric is not None
    assert (facts.metric.model, facts.metric.source) == (None, None)


def test_without_a_metric_only_outputs_are_measured(tmp_path: Path) -> None:
    facts = run(workspace(tmp_path, labels=None))
    assert facts.metric is None
    assert (facts.samples, facts.outputs[0].max_abs) == (4, 0.25)


def test_custom_metric_sees_model_and_source(tmp_path: Path) -> None:
    (tmp_path / "worst.py").write_text(
        "def metric(outputs, labels, inputs):\n"
        "    inputs['x'][:] = -1\n"  # may scribble on what it gets
        "    return outputs['y'].sum() + 100 * len(labels) + 1000 * len(inputs['x'])\n"
    )
    work = workspace(tmp_path / "w", metric=tmp_path / "worst.py")
    metric = Metric(name="metric", function=Function("worst.py", "metric"), higher_is_better=False)
    facts = run(work, metric)
    total = sum(float((call["x"] @ WEIGHT).sum()) for call in CALLS)
    assert facts.metric is not None
    assert (facts.metric.model, facts.metric.source) == (4400 + total, 4400 + total + 0.5)
    assert not facts.metric.higher_is_better
    assert facts.outputs[0].max_abs == 0.25
    params = ValidateParams(provider="cpu", session=Session(), metric=metric, output=None, axis=-1, average=None, k=5)
    assert VALIDATE.runs_user_code(params)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"metric": Metric(name="accuracy"), "output": "nope"}, "metric-does-not-apply"),
        ({"metric": Metric(name="top_k"), "k": 3}, "metric-does-not-apply"),
    ],
)
def test_refusals(tmp_path: Path, options: dict[str, object], code: str) -> None:
    with pytest.raises(StageFailure) as caught:
        run(workspace(tmp_path), **options)  # type: ignore[arg-type]
    assert caught.value.code == code


def test_a_metric_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageFailure, match="needs labels"):
        run(workspace(tmp_path, labels=None), Metric(name="accuracy"))


def test_a_reference_of_other_outputs_is_refused(tmp_path: Path) -> None:
    work = workspace(tmp_path)
    write_calls(tmp_path / "reference", [{"z": np.zeros(1)}] * 2)
    with pytest.raises(StageFailure, match=r"\['label', 'y'\].*\['z'\]"):
        run(work)


def test_a_reference_of_another_shape_is_refused(tmp_path: Path) -> None:
    work = workspace(tmp_path)
    write_calls(tmp_path / "reference", [{"y": np.zeros((1, 3)), "label": np.zeros(1)} for _ in CALLS])
    with pytest.raises(StageFailure, match=r"'y', call 0: the model gives shape \[3, 3\], the source \[1, 3\]"):
        run(work)


def test_a_reference_of_fewer_calls_is_refused(tmp_path: Path) -> None:
    work = workspace(tmp_path)
    write_calls(tmp_path / "reference", [source(CALLS[0]["x"])])
    with pytest.raises(StageFailure, match="2 calls have 1"):
        run(work)
