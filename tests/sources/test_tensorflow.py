"""SavedModel sources: real signatures converted and compared with themselves, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflow_checks import Declared, assert_same, data_for, make_request, refused

from onnxbuild.recipe.types import Framework
from onnxbuild.sources import tensorflow_runtime
from onnxbuild.sources.source import SourceRequest
from onnxbuild.sources.tensorflow_source import KIND

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with several signatures."""
    tensorflow_runtime.start()
    folder = tmp_path_factory.mktemp("saved") / "model"

    class Net(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            rng = np.random.default_rng(0)
            self.kernel = tf.Variable(rng.standard_normal((3, 3, 1, 4)), dtype=tf.float32)
            self.weight = tf.Variable(rng.standard_normal((64, 3)), dtype=tf.float32)
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(["a", "b", "c"], tf.constant([10, 20, 30], tf.int64)), -1
            )

        @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1), tf.float32, name="image")])
        def classify(self, image: Any) -> dict[str, Any]:
            x = tf.nn.relu(tf.nn.conv2d(image, self.kernel, strides=2, padding="SAME"))
            return {"logits": tf.reshape(x, (-1, 64)) @ self.weight}

        @tf.function(
            input_signature=[
                tf.TensorSpec((None, 2), tf.float32, name="zeta"),
                tf.TensorSpec((None, 3), tf.float32, name="alpha"),
            ]
        )
        def join(self, zeta: Any, alpha: Any) -> dict[str, Any]:
            return {"wide": tf.concat([zeta, alpha], 1), "all": tf.reduce_sum(zeta, 1) - tf.reduce_sum(alpha, 1)}

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="word")])
        def look_up(self, word: Any) -> dict[str, Any]:
            return {"number": self.table.lookup(word)}

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="word")])
        def shout(self, word: Any) -> dict[str, Any]:
            return {"loud": tf.strings.upper(word)}

        @tf.function(
            input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x"), tf.TensorSpec((), tf.int32, name="n")]
        )
        def loop(self, x: Any, n: Any) -> dict[str, Any]:
            for _ in tf.range(n):
                x = tf.where(x > 0.5, x * 0.5, x + 0.3)
            return {"y": x}

        @tf.function(input_signature=[tf.TensorSpec((None, 3, 3), tf.float32, name="x")])
        def svd(self, x: Any) -> dict[str, Any]:
            return {"s": tf.linalg.svd(x, compute_uv=False)}

        @tf.function(
            input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x"), tf.TensorSpec((1,), name="unused")]
        )
        def ignore(self, x: Any, unused: Any) -> dict[str, Any]:
            return {"y": x + 1.0}

    net = Net()
    signatures = {
        "serving_default": net.classify,
        "join": net.join,
        "look_up": net.look_up,
        "shout": net.shout,
        "loop": net.loop,
        "svd": net.svd,
        "ignore": net.ignore,
    }
    tf.saved_model.save(net, str(folder), signatures=signatures)
    return folder


IMAGE: Declared = {"image": ("float32", ("batch", 8, 8, 1))}


def request_for(path: Path, inputs: Declared, outputs: list[str], signature: str = "serving_default") -> SourceRequest:
    return make_request(Framework.TENSORFLOW, inputs, outputs, {"path": path}, signature=signature)


def both_sizes(request: SourceRequest) -> list[dict[str, np.ndarray]]:
    return [data_for(request, 3), data_for(request, 1)]


def test_default_signature(saved_model: Path, tmp_path: Path) -> None:
    request = request_for(saved_model, IMAGE, ["scores"])
    assert_same(KIND, request, both_sizes(request), tmp_path)


def test_names_match_in_the_recipes_order(saved_model: Path, tmp_path: Path) -> None:
    inputs = {"zeta": ("float32", ("batch", 2)), "alpha": ("float32", ("batch", 3))}
    request = request_for(saved_model, inputs, ["wide", "all"], "join")
    session = assert_same(KIND, request, both_sizes(request), tmp_path)
    assert session.get_outputs()[0].shape[1:] == [5]


def test_other_names_follow_the_sorted_order(saved_model: Path, tmp_path: Path) -> None:
    inputs = {"three": ("float32", ("batch", 3)), "two": ("float32", ("batch", 2))}
    request = request_for(saved_model, inputs, ["difference", "joined"], "join")
    session = assert_same(KIND, request, both_sizes(request), tmp_path)
    assert session.get_outputs()[1].shape[1:] == [5]


def test_an_output_may_be_left_out_by_name(saved_model: Path, tmp_path: Path) -> None:
    inputs = {"zeta": ("float32", ("batch", 2)), "alpha": ("float32", ("batch", 3))}
    request = request_for(saved_model, inputs, ["wide"], "join")
    assert_same(KIND, request, both_sizes(request), tmp_path)


def test_dynamic_dim_may_be_fixed(saved_model: Path, tmp_path: Path) -> None:
    request = request_for(saved_model, {"image": ("float32", (4, 8, 8, 1))}, ["scores"])
    session = assert_same(KIND, request, [data_for(request, 4)], tmp_path)
    assert session.get_outputs()[0].shape == [4, 3]


def test_control_flow(saved_model: Path, tmp_path: Path) -> None:
    request = request_for(saved_model, {"x": ("float32", ("batch", 4)), "n": ("int32", ())}, ["y"], "loop")
    assert_same(KIND, request, both_sizes(request), tmp_path)


def test_input_that_the_graph_ignores_is_kept(saved_model: Path, tmp_path: Path) -> None:
    request = request_for(saved_model, {"unused": ("float32", (1,)), "x": ("float32", ("batch", 2))}, ["y"], "ignore")
    assert_same(KIND, request, both_sizes(request), tmp_path)


def test_lookup_table_of_strings(saved_model: Path, tmp_path: Path) -> None:
    request = request_for(saved_model, {"word": ("string", ("batch",))}, ["number"], "look_up")
    calls = [{"word": np.array(["b", "x", "c", "a"], dtype=object)}]
    (reference,) = KIND.reference(request, calls)
    assert reference["number"].tolist() == [20, -1, 30, 10]
    assert_same(KIND, request, calls, tmp_path)


def test_reference_strings_are_text(saved_model: Path) -> None:
    request = request_for(saved_model, {"word": ("string", ("batch",))}, ["loud"], "shout")
    call = {"word": np.array(["b", "cd"], dtype=object)}
    (reference,) = KIND.reference(request, [call])
    assert reference["loud"].tolist() == ["B", "CD"]


def test_the_same_model_gives_the_same_bytes(saved_model: Path, tmp_path: Path) -> None:
    request = request_for(saved_model, {"x": ("float32", ("batch", 4)), "n": ("int32", ())}, ["y"], "loop")
    first = KIND.export(request, 18, tmp_path / "1").path.read_bytes()
    assert first == KIND.export(request, 18, tmp_path / "2").path.read_bytes()


@pytest.mark.parametrize(
    ("signature", "inputs", "outputs", "code", "words"),
    [
        ("serving", IMAGE, ["y"], "no-such-signature", "ignore, join, look_up, loop, serving_default, shout, svd"),
        ("serving_default", {"image": ("uint8", ("batch", 8, 8, 1))}, ["y"], "source-inputs", "float32"),
        ("serving_default", {"image": ("float32", ("batch", 8, "w", 1))}, ["y"], "axis-not-dynamic", "'w'"),
        ("serving_default", {"image": ("float32", ("batch", 8, 9, 1))}, ["y"], "source-inputs", "[?, 8, 8, 1]"),
        ("serving_default", IMAGE, ["y", "z"], "source-outputs", "2 outputs"),
        ("join", IMAGE, ["y"], "source-inputs", "alpha (float32 [?, 3]), zeta"),
        ("svd", {"x": ("float32", ("batch", 3, 3))}, ["s"], "unsupported-operator", "Svd"),
    ],
)
def test_what_is_refused(
    signature: str, inputs: Declared, outputs: list[str], code: str, words: str, saved_model: Path, tmp_path: Path
) -> None:
    failure = refused(KIND, request_for(saved_model, inputs, outputs, signature), tmp_path)
    assert (failure.code, words in failure.message) == (code, True), failure.message


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"nothing")
    assert refused(KIND, request_for(tmp_path, IMAGE, ["y"]), tmp_path).code == "source-does-not-load"
