"""tflite sources: real files converted and compared with their interpreter, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflow_checks import Declared, assert_same, data_for, make_request, refused

from onnxbuild.recipe.types import Framework
from onnxbuild.sources import tensorflow_runtime
from onnxbuild.sources.source import SourceRequest
from onnxbuild.sources.tflite_source import KIND

tf = pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")
pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="session")
def tflite_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tflite files: float with a dynamic and a fixed batch, int8, two inputs."""
    tensorflow_runtime.start()
    folder = tmp_path_factory.mktemp("tflite")
    rng = np.random.default_rng(0)
    kernels = [tf.constant(rng.standard_normal((3, 3, a, b)) / 5, tf.float32) for a, b in ((1, 4), (4, 4))]
    weight = tf.constant(rng.standard_normal((64, 3)), tf.float32)

    def cnn(image: Any) -> Any:
        x = tf.nn.relu(tf.nn.conv2d(image, kernels[0], 1, "SAME"))
        x = tf.nn.max_pool2d(x, 2, 2, "VALID") + tf.nn.conv2d(x, kernels[1], 2, "SAME")
        return {"logits": tf.reshape(x, (-1, 64)) @ weight}

    def activations(x: Any) -> Any:
        return {  # of different values, for the converter fuses no common subexpressions
            "exact": tf.nn.gelu(x, approximate=False),
            "approximate": tf.nn.gelu(x * 3.0, approximate=True),
            "clipped": tf.minimum(tf.maximum(x, 0.0), 1.0) + tf.minimum(tf.maximum(x, -1.0), 1.0),
        }

    def join(zeta: Any, alpha: Any) -> Any:
        return {"wide": tf.concat([zeta, alpha], 1), "all": tf.nn.softmax(alpha)}

    def examples() -> Iterator[list[np.ndarray]]:
        for _ in range(16):
            yield [rng.random((1, 8, 8, 1), np.float32)]

    def write(name: str, function: Any, *specs: Any, quantise: bool = False, select: bool = False) -> None:
        concrete = tf.function(function).get_concrete_function(*specs)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module())
        if select:
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
        if quantise:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = examples
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        with tensorflow_runtime.quiet():
            (folder / name).write_bytes(converter.convert())

    image = tf.TensorSpec((None, 8, 8, 1), tf.float32, name="image")
    write("dynamic.tflite", cnn, image)
    write("fixed.tflite", cnn, tf.TensorSpec((1, 8, 8, 1), tf.float32, name="image"))
    write("int8.tflite", cnn, image, quantise=True)
    write("activations.tflite", activations, tf.TensorSpec((None, 5), tf.float32, name="x"))
    write("select.tflite", lambda x: {"y": tf.math.erf(x) + 1.0}, tf.TensorSpec((None, 5), name="x"), select=True)
    write("join.tflite", join, tf.TensorSpec((None, 2), name="zeta"), tf.TensorSpec((None, 3), name="alpha"))
    return folder


IMAGE: Declared = {"image": ("float32", ("batch", 8, 8, 1))}


def request_for(path: Path, inputs: Declared, outputs: list[str]) -> SourceRequest:
    return make_request(Framework.TFLITE, inputs, outputs, {"path": path})


def both_sizes(request: SourceRequest) -> list[dict[str, np.ndarray]]:
    return [data_for(request, 3), data_for(request, 1)]


def test_dynamic_batch(tflite_files: Path, tmp_path: Path) -> None:
    request = request_for(tflite_files / "dynamic.tflite", IMAGE, ["scores"])
    assert_same(KIND, request, both_sizes(request), tmp_path)


def test_dynamic_batch_fixed_by_the_recipe(tflite_files: Path, tmp_path: Path) -> None:
    request = request_for(tflite_files / "dynamic.tflite", {"image": ("float32", (4, 8, 8, 1))}, ["scores"])
    assert_same(KIND, request, [data_for(request, 4)], tmp_path)


def test_fixed_batch(tflite_files: Path, tmp_path: Path) -> None:
    request = request_for(tflite_files / "fixed.tflite", {"image": ("float32", (1, 8, 8, 1))}, ["scores"])
    assert_same(KIND, request, [data_for(request, 1)], tmp_path)


def test_int8_file_keeps_its_integers(tflite_files: Path, tmp_path: Path) -> None:
    import onnx

    request = request_for(tflite_files / "int8.tflite", {"image": ("int8", ("batch", 8, 8, 1))}, ["scores"])
    assert_same(KIND, request, both_sizes(request), tmp_path, rtol=0, atol=1)  # one step of the output's scale
    operators = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert operators.count("DequantizeLinear") > 3


def test_operators_that_tf2onnx_lacks(tflite_files: Path, tmp_path: Path) -> None:
    inputs: Declared = {"x": ("float32", ("batch", 5))}
    request = request_for(tflite_files / "activations.tflite", inputs, ["exact", "approximate", "clipped"])
    assert_same(KIND, request, both_sizes(request), tmp_path)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"zeta": ("float32", ("batch", 2)), "alpha": ("float32", ("batch", 3))}, ["wide", "all"]),
        ({"alpha": ("float32", ("batch", 3)), "zeta": ("float32", ("batch", 2))}, ["all", "wide"]),
    ],
)
def test_names_of_the_signature_match(inputs: Declared, outputs: list[str], tflite_files: Path, tmp_path: Path) -> None:
    request = request_for(tflite_files / "join.tflite", inputs, outputs)
    session = assert_same(KIND, request, both_sizes(request), tmp_path)
    assert session.get_outputs()[outputs.index("wide")].shape[1:] == [5]


def test_the_same_file_gives_the_same_bytes(tflite_files: Path, tmp_path: Path) -> None:
    request = request_for(tflite_files / "int8.tflite", {"image": ("int8", ("batch", 8, 8, 1))}, ["scores"])
    first = KIND.export(request, 18, tmp_path / "1").path.read_bytes()
    assert first == KIND.export(request, 18, tmp_path / "2").path.read_bytes()


@pytest.mark.parametrize(
    ("file", "inputs", "outputs", "code", "words"),
    [
        (
            "select.tflite",
            {"x": ("float32", ("batch", 5))},
            ["y"],
            "source-does-not-load",
            "TensorFlow's own operators",
        ),
        ("fixed.tflite", IMAGE, ["y"], "axis-not-dynamic", "'batch'"),
        ("int8.tflite", IMAGE, ["y"], "source-inputs", "int8"),
        ("dynamic.tflite", {"image": ("float32", ("batch", 9, 8, 1))}, ["y"], "source-inputs", "[?, 8, 8, 1]"),
        ("dynamic.tflite", IMAGE, ["y", "z"], "source-outputs", "2 outputs"),
        ("join.tflite", IMAGE, ["y"], "source-inputs", "zeta"),
    ],
)
def test_what_is_refused(
    file: str, inputs: Declared, outputs: list[str], code: str, words: str, tflite_files: Path, tmp_path: Path
) -> None:
    failure = refused(KIND, request_for(tflite_files / file, inputs, outputs), tmp_path)
    assert (failure.code, words in failure.message) == (code, True), failure.message


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.tflite").write_bytes(b"nothing")
    assert refused(KIND, request_for(tmp_path / "bad.tflite", IMAGE, ["y"]), tmp_path).code == "source-does-not-load"
