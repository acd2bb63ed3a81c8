"""`init --from` for every kind of saved model: the drafted recipe is what the file tells, and it builds as it is."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from tests.project import Project


def draft(project: Project, model: Path, *options: str) -> dict[str, object]:
    """Run `init --from` and return the recipe as YAML reads it."""
    done = project.run("init", "--from", str(model), *options)
    assert done.code == 0, done.err
    (recipe,) = (project.root / "recipes").glob("*.yaml")
    return dict(yaml.safe_load(recipe.read_text()))


def assert_builds(project: Project) -> None:
    """Generated data proves nothing, so a sound draft is unverified: exit code 0, and a model is delivered."""
    done = project.make()
    assert done.code == 0, done.out + done.err
    assert {e["verdict"] for e in done.events if e["event"] == "verdict"} == {"unverified"}
    assert list(project.root.glob("build/*/default/model.onnx"))


def refused(project: Project, model: Path, *options: str) -> str:
    done = project.run("init", "--from", str(model), *options)
    assert done.code == 2, done.out + done.err
    assert not list((project.root / "recipes").glob("*.yaml"))
    return done.err


@pytest.mark.torch
def test_an_exported_program(project: Project, tmp_path: Path) -> None:
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(4, 3)

        def forward(self, image: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.fc(image), ids.sum(1)

    rows, length = torch.export.Dim("rows", max=40), torch.export.Dim("length", min=1, max=5)
    shapes = ({0: rows}, {0: rows, 1: 2 * length})
    examples = torch.zeros(4, 4), torch.ones(4, 6, dtype=torch.int64)
    model = tmp_path / "My Net.pt2"
    torch.export.save(torch.export.export(Net(), examples, dynamic_shapes=shapes), model)

    recipe = draft(project, model)

    assert recipe["source"] == {
        "framework": "torch",
        "path": "models/my-net.pt2",
        "trust": "pickle",
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
    }
    assert recipe["inputs"] == {
        "image": {"dtype": "float32", "shape": ["batch", 4]},
        "ids": {"dtype": "int64", "shape": ["batch", "ids_1"]},
    }
    assert recipe["dynamic_axes"] == {"batch": {"max": 16}, "ids_1": {"max": 10, "multiple_of": 2}}
    assert recipe["outputs"] == ["linear", "sum_1"]
    assert_builds(project)


def test_a_zip_that_is_no_program(project: Project, tmp_path: Path) -> None:
    import zipfile

    model = tmp_path / "odd.pt2"
    with zipfile.ZipFile(model, "w") as archive:
        archive.writestr("odd/models/model.json", "[]")
    assert "no exported program" in refused(project, model)


@pytest.fixture(scope="module")
def keras_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """net.keras, a SavedModel folder `saved` and net.tflite, made in a process that is not this one."""
    import subprocess

    folder = tmp_path_factory.mktemp("keras")
    program = """
import keras, tensorflow as tf
image, ids = keras.Input((6, 6, 1), name="image"), keras.Input((None,), dtype="int32", name="ids")
words = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(2, 4)(ids))
seen = keras.layers.Dense(4)(keras.layers.Flatten()(image))
keras.Model([image, ids], keras.layers.Add(name="joined")([words, seen])).save("net.keras")
module = tf.Module()
module.w = tf.Variable(tf.ones((5, 2)))
shape = tf.TensorSpec((None, 5), tf.float32, name="x")
serve = tf.function(lambda x: {"doubled": 2 * x, "scores": x @ module.w}, input_signature=[shape])
other = tf.function(lambda x: {"same": x}, input_signature=[shape])
tf.saved_model.save(module, "saved", signatures={"classify": serve, "echo": other})
small = keras.Sequential([keras.Input((5,), batch_size=2, name="x"), keras.layers.Dense(3, name="y")])
open("net.tflite", "wb").write(tf.lite.TFLiteConverter.from_keras_model(small).convert())
"""
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.tensorflow
def test_a_keras_file(project: Project, keras_models: Path) -> None:
    recipe = draft(project, keras_models / "net.keras")
    assert recipe["source"] == {"framework": "keras", "path": "models/net.keras"}
    assert recipe["inputs"] == {
        "image": {"dtype": "float32", "shape": ["batch", 6, 6, 1]},
        "ids": {"dtype": "int32", "shape": ["batch", "ids_1"]},
    }
    assert recipe["outputs"] == ["joined"]
    assert_builds(project)


@pytest.mark.tensorflow
def test_a_saved_model(project: Project, keras_models: Path) -> None:
    recipe = draft(project, keras_models / "saved")
    assert recipe["source"] == {"framework": "tensorflow", "path": "models/saved", "signature": "classify"}
    assert recipe["inputs"] == {"x": {"dtype": "float32", "shape": ["batch", 5]}}
    assert recipe["outputs"] == ["doubled", "scores"]
    assert "other signatures too: echo" in (project.root / "recipes/saved.yaml").read_text()
    assert_builds(project)


@pytest.mark.tensorflow
def test_a_tflite_file(project: Project, keras_models: Path) -> None:
    recipe = draft(project, keras_models / "net.tflite")
    assert recipe["source"] == {"framework": "tflite", "path": "models/net.tflite"}
    assert recipe["inputs"] == {"x": {"dtype": "float32", "shape": [2, 5]}}
    assert "dynamic_axes" not in recipe
    assert_builds(project)


@pytest.mark.sklearn
def test_a_skops_file_of_a_matrix(project: Project, tmp_path: Path) -> None:
    import skops.io
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    skops.io.dump(LogisticRegression().fit(x, x[:, 0] > 0), tmp_path / "net.skops")
    recipe = draft(project, tmp_path / "net.skops")
    assert recipe["source"] == {"framework": "sklearn", "path": "models/net.skops"}
    assert recipe["inputs"] == {"x": {"dtype": "float32", "shape": ["batch", 3]}}
    assert recipe["outputs"] == {"prediction": "predict", "probabilities": "predict_proba"}
    assert_builds(project)


@pytest.mark.sklearn
def test_a_pickle_is_opened_only_when_trusted(project: Project, tmp_path: Path) -> None:
    import joblib
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = pd.DataFrame({"rooms": [0, 1, 1, 0], "area": [30.0, 70.0, 50.0, 90.0]})
    columns = ColumnTransformer([("rooms", OneHotEncoder(), ["rooms"]), ("area", StandardScaler(), ["area"])])
    model = tmp_path / "net.joblib"
    joblib.dump(make_pipeline(columns, Ridge()).fit(frame, [1.0, 2.0, 3.0, 4.0]), model)

    assert "--trust pickle" in refused(project, model)
    recipe = draft(project, model, "--trust", "pickle")

    assert recipe["inputs"] == {
        "rooms": {"dtype": "int64", "shape": ["batch", 1]},
        "area": {"dtype": "float32", "shape": ["batch", 1]},
    }
    assert recipe["source"]["trust"] == "pickle"  # type: ignore[index]
    assert recipe["outputs"] == {"prediction": "predict"}
    assert_builds(project)


def test_what_the_file_does_not_tell_is_asked_for_not_guessed(project: Project, tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    imports = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path / "any.onnx")
    recipe = draft(project, tmp_path / "any.onnx")
    assert recipe["inputs"] == {"x": {"dtype": "float32"}}
    assert recipe["opset"] == 18
    checked = project.run("check")
    assert checked.code == 2
    assert "any.yaml:5:3" in checked.err + checked.out
    assert "needs `shape`" in checked.err + checked.out


def test_a_hostile_name_stays_a_comment_or_a_string(project: Project, tmp_path: Path) -> None:
    name = 'x: {}\nsource: {framework: torch}  # "'
    x = helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    graph = helper.make_graph([helper.make_node("Relu", [name], ["y"])], "g", [x], [y])
    imports = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path / "a\nname: b.onnx")
    recipe = draft(project, tmp_path / "a\nname: b.onnx")
    assert recipe["inputs"] == {name: {"dtype": "float32", "shape": [2]}}
    assert "name" not in recipe


@pytest.mark.parametrize("name", ["net.safetensors", "net.weights.h5", "net.pt"])
def test_weights_alone_are_no_model(project: Project, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert "`factory` that builds the model" in refused(project, tmp_path / name)


def test_a_folder_that_is_no_saved_model(project: Project, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "no SavedModel" in refused(project, tmp_path / "folder")
