"""Keras sources: real models converted and compared with themselves, and what is refused."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from onnxruntime import InferenceSession
from tensorflow_checks import Declared, assert_same, data_for, make_request, refused

from onnxbuild.ort.session import open_session, run_call
from onnxbuild.recipe.types import Framework, Function
from onnxbuild.sources import tensorflow_runtime
from onnxbuild.sources.keras_source import KIND
from onnxbuild.sources.source import SourceRequest

pytest.importorskip("tensorflow")  # after tensorflow_runtime, which quietens it
pytestmark = pytest.mark.tensorflow

FACTORIES = """
import keras
from keras import layers as L

def cnn(classes=4):
    return keras.Sequential([
        keras.Input((8, 8, 3)), L.Conv2D(4, 3, activation="relu"), L.BatchNormalization(), L.Dropout(0.5),
        L.GlobalAveragePooling2D(), L.Dense(classes, activation="softmax")])

def unbuilt():
    return keras.Sequential([L.Dense(3, activation="gelu"), L.Dense(2)])

def called():
    model = unbuilt()
    model(keras.ops.zeros((1, 4)))
    return model

def two_inputs():
    a, b = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    x = L.Concatenate()([L.Dense(4)(a), b])
    return keras.Model([a, b], [L.Dense(1, name="score")(x), L.Dense(2, name="pair")(x)])

def dictionary():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    return keras.Model({"a": a, "b": b}, L.Add()([a, b]))

class Attention(keras.Model):
    def __init__(self):
        super().__init__()
        self.embed, self.attend, self.out = L.Embedding(11, 8), L.MultiHeadAttention(2, 4), L.Dense(3)
    def call(self, tokens, scale, training=False):
        x = self.embed(tokens)
        x = self.attend(x, x)
        return {"logits": self.out(x) * scale, "mean": keras.ops.mean(x, axis=1)}

def attention():
    return Attention()

class Listed(keras.Model):
    def call(self, inputs):
        a, b = inputs
        return a - b

def listed():
    return Listed()

class Nested(keras.Model):
    def call(self, x):
        return [x, [x, x]]

def nested():
    return Nested()

class Unsupported(keras.Model):
    def call(self, x):
        import tensorflow as tf
        return tf.linalg.svd(x, compute_uv=False)

def unsupported():
    return Unsupported()

def raising():
    raise KeyError("no such file")

def deep():
    i = x = keras.Input((16, 16, 3))
    for k in range(6):
        y = L.ReLU()(L.BatchNormalization()(L.Conv2D(8, 3, padding="same", use_bias=False)(x)))
        x = L.Concatenate()([x, y]) if k % 2 else y
    z = L.Concatenate()([L.GlobalAveragePooling2D()(x), L.Dense(16, activation="gelu")(L.Flatten()(x))])
    s = L.Reshape((-1, 4))(L.LayerNormalization()(z))
    s = L.MultiHeadAttention(2, 4)(*[L.LSTM(5, return_sequences=True)(s)] * 2)
    return keras.Model(i, [L.Dense(4, activation="softmax")(L.Flatten()(s)), L.Dense(1)(z)])

def not_a_model():
    return 7
"""


@pytest.fixture(scope="session")
def factories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tensorflow_runtime.start()
    path = tmp_path_factory.mktemp("keras") / "factories_of_keras.py"
    path.write_text(dedent(FACTORIES))
    return path


def request_for(
    inputs: Declared, outputs: list[str], function: str | None = None, args: dict[str, Any] | None = None, **files: Path
) -> SourceRequest:
    factory = Function(file="f.py", name=function, args=args or {}) if function else None
    return make_request(Framework.KERAS, inputs, outputs, files, factory=factory)


def assert_same_outputs(request: SourceRequest, folder: Path) -> InferenceSession:
    # The factory runs afresh for the export, under the same seed: so do its weights.
    return assert_same(KIND, request, [data_for(request, 3), data_for(request, 1)], folder)


IMAGE = {"image": ("float32", ("batch", 8, 8, 3))}
PAIR = {"a": ("float32", ("batch", 3)), "b": ("float32", ("batch", 3))}


def test_sequential_is_exported_in_inference_mode(factories: Path, tmp_path: Path) -> None:
    request = request_for(IMAGE, ["probs"], "cnn", {"classes": 5}, factory=factories)
    session = assert_same_outputs(request, tmp_path)
    assert session.get_outputs()[0].shape[1] == 5


@pytest.mark.parametrize("function", ["unbuilt", "called"])
def test_model_without_declared_input_and_with_gelu(function: str, factories: Path, tmp_path: Path) -> None:
    assert_same_outputs(request_for({"x": ("float32", ("batch", 4))}, ["y"], function, factory=factories), tmp_path)


def test_inputs_and_outputs_match_by_name_where_all_do(factories: Path, tmp_path: Path) -> None:
    inputs = {"right": ("float32", ("batch", 2)), "left": ("float32", ("batch", 3))}
    request = request_for(inputs, ["pair", "score"], "two_inputs", factory=factories)
    session = assert_same_outputs(request, tmp_path)
    assert [v.shape[1] for v in session.get_outputs()] == [2, 1]


def test_inputs_and_outputs_match_by_order_otherwise(factories: Path, tmp_path: Path) -> None:
    inputs = {"first": ("float32", ("batch", 3)), "right": ("float32", ("batch", 2))}
    request = request_for(inputs, ["one", "two"], "two_inputs", factory=factories)
    session = assert_same_outputs(request, tmp_path)
    assert [v.shape[1] for v in session.get_outputs()] == [1, 2]


def test_subclassed_model_with_arguments_and_a_dictionary_of_outputs(factories: Path, tmp_path: Path) -> None:
    inputs = {"scale": ("float32", ()), "tokens": ("int64", ("batch", "length"))}
    assert_same_outputs(request_for(inputs, ["mean", "logits"], "attention", factory=factories), tmp_path)


def test_subclassed_model_with_a_list_of_inputs(factories: Path, tmp_path: Path) -> None:
    assert_same_outputs(request_for(PAIR, ["y"], "listed", factory=factories), tmp_path)


@pytest.mark.parametrize("function", ["cnn", "unbuilt"])
def test_weights_are_loaded(function: str, factories: Path, tmp_path: Path) -> None:
    import keras

    from onnxbuild.base.user_code import load_function

    inputs = IMAGE if function == "cnn" else {"x": ("float32", ("batch", 4))}
    plain = request_for(inputs, ["y"], function, factory=factories)
    call = data_for(plain, 2)
    (before,) = KIND.reference(plain, [call])
    keras.utils.set_random_seed(9)
    model = load_function(factories, function)()
    value = model(next(iter(call.values())), training=False)
    model.save_weights(tmp_path / "net.weights.h5")

    trained = request_for(inputs, ["y"], function, factory=factories, weights=tmp_path / "net.weights.h5")
    (after,) = KIND.reference(trained, [call])
    np.testing.assert_allclose(after["y"], value, rtol=1e-5, atol=1e-6)
    assert not np.allclose(before["y"], after["y"])
    assert_same_outputs(trained, tmp_path)


def test_keras_file(factories: Path, tmp_path: Path) -> None:
    from onnxbuild.base.user_code import load_function

    load_function(factories, "two_inputs")().save(tmp_path / "net.keras")
    inputs = {"left": ("float32", (2, 3)), "right": ("float32", (2, 2))}
    request = request_for(inputs, ["score", "pair"], path=tmp_path / "net.keras")
    call = data_for(request, 2)
    (reference,) = KIND.reference(request, [call])
    session = open_session(KIND.export(request, 13, tmp_path).path)
    assert session.get_inputs()[0].shape == [2, 3], "a dynamic dim of the source may be fixed"
    np.testing.assert_allclose(run_call(session, call)["pair"], reference["pair"], rtol=1e-4, atol=1e-6)


def test_the_same_model_gives_the_same_bytes(factories: Path, tmp_path: Path) -> None:
    """Twice in one process here; scripts in two fresh processes differ only in what these two share."""
    request = request_for({"x": ("float32", ("batch", 16, 16, 3))}, ["p", "q"], "deep", factory=factories)
    first = KIND.export(request, 18, tmp_path / "1").path.read_bytes()
    assert first == KIND.export(request, 18, tmp_path / "2").path.read_bytes()


def test_opset_is_the_wanted_one_up_to_18(factories: Path, tmp_path: Path) -> None:
    import onnx

    request = request_for(IMAGE, ["probs"], "cnn", factory=factories)
    for wanted, delivered in ((13, 13), (None, 18), (21, 18)):
        model = onnx.load(KIND.export(request, wanted, tmp_path).path)
        assert {o.domain: o.version for o in model.opset_import}[""] == delivered


@pytest.mark.parametrize(
    ("function", "inputs", "outputs", "code", "words"),
    [
        ("cnn", {"image": ("float64", ("batch", 8, 8, 3))}, ["y"], "source-inputs", "float32"),
        ("cnn", {"image": ("float32", ("batch", 8, "width", 3))}, ["y"], "axis-not-dynamic", "'width'"),
        ("cnn", {"image": ("float32", ("batch", 9, 8, 3))}, ["y"], "source-inputs", "[?, 8, 8, 3]"),
        ("cnn", {"image": ("float32", ("batch", 8))}, ["y"], "source-inputs", "4"),
        ("cnn", PAIR, ["y"], "source-inputs", "2 inputs"),
        ("cnn", IMAGE, ["y", "z"], "source-outputs", "2 outputs"),
        ("dictionary", PAIR, ["y"], "nested-values", "dictionary"),
        ("nested", {"x": ("float32", ("batch", 3))}, ["y", "z"], "nested-values", "nested outputs"),
        (
            "attention",
            {"tokens": ("int64", ("batch", 5)), "scale": ("float32", ())},
            ["y", "z"],
            "source-outputs",
            "mean",
        ),
        ("unsupported", {"x": ("float32", ("batch", 3, 3))}, ["y"], "unsupported-operator", "Svd"),
        ("raising", IMAGE, ["y"], "user-code", "no such file"),
        ("not_a_model", IMAGE, ["y"], "not-a-keras-model", "int"),
    ],
)
def test_what_is_refused(
    function: str, inputs: Any, outputs: list[str], code: str, words: str, factories: Path, tmp_path: Path
) -> None:
    failure = refused(KIND, request_for(inputs, outputs, function, factory=factories), tmp_path)
    assert (failure.code, words in failure.message) == (code, True), failure.message


def test_factory_traceback_starts_at_the_user(factories: Path, tmp_path: Path) -> None:
    failure = refused(KIND, request_for(IMAGE, ["y"], "raising", factory=factories), tmp_path)
    assert failure.traceback is not None
    assert "factories_of_keras.py" in failure.traceback.splitlines()[1]


def test_weights_of_another_architecture_are_refused(factories: Path, tmp_path: Path) -> None:
    from onnxbuild.base.user_code import load_function

    load_function(factories, "cnn")(classes=7).save_weights(tmp_path / "w.weights.h5")
    request = request_for(IMAGE, ["y"], "cnn", factory=factories, weights=tmp_path / "w.weights.h5")
    assert refused(KIND, request, tmp_path).code == "weights-do-not-fit"
    (tmp_path / "w.weights.h5").write_bytes(b"not hdf5")
    assert refused(KIND, request, tmp_path).code == "weights-do-not-fit"


def test_lambda_layer_in_a_file_is_refused(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / "l.keras")
    request = request_for({"x": ("float32", ("batch", 3))}, ["y"], path=tmp_path / "l.keras")
    assert refused(KIND, request, tmp_path).code == "unsafe-model"


@pytest.mark.parametrize("name", ["l.keras", "l.h5"])
def test_a_file_that_is_no_model_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"PK nothing")
    request = request_for({"x": ("float32", ("batch", 3))}, ["y"], path=tmp_path / name)
    assert refused(KIND, request, tmp_path).code == "source-does-not-load"
