"""TensorFlow and Keras made quiet and repeatable; importing this module only sets their environment. Knows no model.

Workers import it before TensorFlow. Nothing here runs an operation at import time: a process that is to fork
may only import TensorFlow, or its children hang.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxbuild.base.user_code import user_frames
from onnxbuild.sources.source import SourceRequest

if TYPE_CHECKING:
    from onnxbuild.ort.session import Call

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"


def start() -> None:
    """Import TensorFlow and Keras and bring both to one known state: one thread, CPU only, seeds, Keras's own defaults.

    Called in the child before any user code.
    """
    import keras
    import tensorflow as tf

    # Where TensorFlow has run already (tests, notebooks) its threads and devices stay as they are.
    with suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.set_visible_devices([], "GPU")
    # ~/.keras/keras.json is not an input of the build, and layer names count up from process-wide counters.
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the Python warnings that TensorFlow, Keras and tf2onnx give about themselves."""
    with warnings.catch_warnings():
        for module in ("tensorflow", "keras", "tf2onnx", "google", "numpy"):
            warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
        # Said of the class that tf2onnx opens to read shapes; attributed to its caller by stack level.
        warnings.filterwarnings("ignore", message=r"\s*Warning: tf\.lite\.Interpreter is deprecated")
        yield


def run_calls(
    function: Callable[..., Sequence[Any]], request: SourceRequest, calls: Iterable[Call]
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the outputs of `function` for each call; tensors go in and come out in the recipe's order.

    Raises StageFailure: the user's code, or the model, raised.
    """
    import tensorflow as tf

    names = [item.name for item in request.outputs]
    for number, call in enumerate(calls):
        with quiet(), user_frames(f"running the source on call {number}"):
            tensors = [tf.constant(call[item.name], dtype=item.dtype) for item in request.inputs]
            arrays = [_array(tf.convert_to_tensor(tensor)) for tensor in function(*tensors)]
        yield dict(zip(names, arrays, strict=True))


def _array(tensor: Any) -> np.ndarray:
    """Return a tensor's values; strings, which TensorFlow holds as bytes, as Python's."""
    array = np.asarray(tensor)
    if tensor.dtype.name != "string":
        return array
    texts = [item.decode() for item in array.reshape(-1)]
    return np.array(texts, dtype=object).reshape(tensor.shape.as_list())
