"""Data and references at their limits, through the real command: each works, or is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.project import Project

RECIPE = """\
format: 1
source: {framework: onnx, path: models/m.onnx}
inputs: {x: {dtype: float32, shape: [batch, 3]}}
outputs: [y]
dynamic_axes: {batch: {max: 8}}
"""
DATA = "evaluation: {data: data/d.npz}\n"
X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
LIMIT = "tolerance: {metric: {at_least: 99% of source}}\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    for name in ("models", "data"):
        (tmp_path / "recipes" / name).mkdir()
    return made


def given(project: Project, model: str, recipe: str, **arrays: Any) -> None:
    """Write a model in ONNX's own text, data, and the recipe."""
    text = f'<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 2]> {model}'
    onnx.save(onnx.parser.parse_model(text), project.root / "recipes/models/m.onnx")
    if arrays:
        np.savez(project.root / "recipes/data/d.npz", **arrays)
    project.recipe("m", recipe)


LOG = "g (float[n, 3] x) => (float[n, 3] y) { y = Log(x) }"


def test_paired_nans_and_infinities_agree_and_are_warned_of(project: Project) -> None:
    given(project, LOG, RECIPE + DATA, x=np.array([[1, -1, 0], [2, 3, 4]], np.float32))
    done = project.make()
    assert done.code == 0, done.err
    assert done.event("gate", gate="tolerance.y.atol")["verdict"] == "passed"
    assert "[nonfinite]" in done.out


def test_a_reference_of_nothing_but_nan_proves_nothing(project: Project) -> None:
    given(project, LOG, RECIPE + DATA, x=-np.ones((4, 3), np.float32))
    gate = project.make().event("gate", gate="tolerance.y.atol")
    assert gate["verdict"] == "unverified"
    assert "NaN or infinite in every element" in gate["reason"]


def test_empty_data_is_refused_before_work_or_by_its_stage(project: Project) -> None:
    given(project, LOG, RECIPE + DATA, x=np.ones((0, 3), np.float32))
    done = project.make()
    assert (done.code, done.ran) == (2, [])
    assert "'x' has no rows" in done.err
    project.write("recipes/data/load.py", "def nothing(): return []\n")
    project.recipe("m", RECIPE + "evaluation: {data: {loader: data/load.py:nothing}}\n")
    done = project.make()
    assert done.code == 1
    assert done.event("action", action="m/data")["failure"]["code"] == "data-is-empty"


SUM = "g (float[n, 3] x) => (float[n] y) <int64[1] a = {1}> { y = ReduceSum <keepdims = 0> (x, a) }"
SOFTMAX = "g (float[n, 3] x) => (float[n, 3] y) { y = Softmax <axis = -1> (x) }"


def test_one_class_only_leaves_roc_auc_undefined_and_the_gate_says_so(project: Project) -> None:
    evaluation = "evaluation: {data: data/d.npz, metric: roc_auc}\n"
    given(project, SUM, RECIPE + evaluation + LIMIT, x=X, labels=np.zeros(8, int))
    done = project.make()
    assert done.code == 1
    assert "not defined on this data, as with one class only" in done.event("gate", gate="tolerance.metric")["reason"]


def test_one_class_only_is_a_warning_for_accuracy(project: Project) -> None:
    evaluation = "evaluation: {data: data/d.npz, metric: accuracy}\n"
    given(project, SOFTMAX, RECIPE + evaluation + LIMIT, x=X, labels=np.zeros(8, int))
    done = project.make()
    assert done.code == 0, done.err
    assert "the labels have one class only, 0" in done.out
    assert "[one-class]" in done.out


def test_outputs_that_are_indices_must_be_equal_and_may_be_scored(project: Project) -> None:
    model = "g (float[n, 3] x) => (int64[n] y) { y = ArgMax <axis = 1, keepdims = 0> (x) }"
    recipe = RECIPE + "evaluation: {data: data/d.npz, metric: accuracy}\n"
    recipe += "tolerance: {outputs: {y: {atol: 1.0e-4}}, metric: {at_least: 1}}\n"
    recipe += "variants: {strict: {}, loose: {tolerance: {outputs: {y: {share: 99%}}}}}\n"
    given(project, model, recipe, x=X, labels=X.argmax(1))
    done = project.make()
    assert done.code == 0, done.err
    judged = [e for e in done.events if e["event"] == "gate"]
    gates = {
        t: [(e["gate"], e["limit"], e["measured"]) for e in judged if e["target"] == t] for t in ("m:strict", "m:loose")
    }
    assert gates == {
        "m:strict": [("tolerance.y.atol", "every element equal", 0.0), ("tolerance.metric", "at least 1", 1.0)],
        "m:loose": [("tolerance.y.atol", "99% of elements equal", 1.0), ("tolerance.metric", "at least 1", 1.0)],
    }


def test_an_output_that_is_a_sequence_is_refused(project: Project) -> None:
    given(project, "g (float[n, 3] x) => (seq(float[n, 3]) y) { y = SequenceConstruct(x, x) }", RECIPE + DATA, x=X)
    done = project.make("-k")
    assert done.code == 1
    failure = done.event("action", action="m/canonicalize")["failure"]
    assert (failure["code"], "is a sequence, not a tensor" in failure["message"]) == ("unsupported-model", True)
    failure = done.event("action", action="m/reference")["failure"]
    assert failure["message"] == "output 'y' is seq(tensor(float)), not a tensor"


def test_an_output_that_is_a_list_of_maps_is_refused(project: Project) -> None:
    nodes = [
        helper.make_node(
            "LinearClassifier", ["x"], ["label", "s"], domain="ai.onnx.ml",
            classlabels_ints=[0, 1, 2], coefficients=[1.0] * 9, intercepts=[0.0] * 3,
        ),
        helper.make_node("ZipMap", ["s"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]),
    ]  # fmt: skip
    maps = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
            helper.make_value_info("y", helper.make_sequence_type_proto(maps)),
        ],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), project.root / "recipes/models/m.onnx")
    np.savez(project.root / "recipes/data/d.npz", x=X)
    project.recipe("m", RECIPE.replace("[y]", "[label, y]") + DATA)
    done = project.make("-k")
    assert done.code == 1
    failure = done.event("action", action="m/canonicalize")["failure"]
    assert (failure["code"], failure["message"]) == ("unsupported-model", "'y' is a map, not a tensor")
    assert done.event("action", action="m/reference")["failure"]["code"] == "unsupported-model"


def test_an_input_of_rank_0_is_one_number_for_all_calls(project: Project) -> None:
    recipe = RECIPE.replace("3]}}", "3]}, s: {dtype: float32, shape: []}}")
    model = "g (float[n, 3] x, float s) => (float[n, 3] y) { y = Mul(x, s) }"
    given(project, model, recipe + DATA, x=X, s=np.float32(2))
    done = project.make()
    assert done.code == 0, done.err
    assert done.event("verdict", target="m:default")["verdict"] == "passed"
    project.recipe("m", recipe)  # generated
    assert project.make().event("verdict", target="m:default")["verdict"] == "unverified"


LABELS = """g (string[n, 3] x) => (int64[n, 3] y) {
  y = ai.onnx.ml.LabelEncoder <keys_strings = ["a", "b"], values_int64s = [1, 2], default_int64 = 0> (x) }"""


def test_string_inputs_come_from_data_and_are_never_generated(project: Project) -> None:
    recipe = RECIPE.replace("float32", "string")
    given(project, LABELS, recipe + DATA, x=np.array([["a", "b", "c"], ["b", "é", ""]]))
    done = project.make()
    assert done.code == 0, done.err
    assert done.event("verdict", target="m:default")["verdict"] == "passed"
    for lines in ("", "evaluation: {data: {random: {}}}\n"):
        project.recipe("m", recipe + lines)
        done = project.make()
        assert (done.code, done.ran) == (2, [])
        assert "no strings can be generated for the input 'x'" in done.err
