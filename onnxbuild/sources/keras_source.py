"""A Keras 3 model on TensorFlow: a factory with weights, or a .keras file; converted and run; knows no SavedModel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.user_code import load_function, user_frames
from onnxbuild.recipe.types import Framework
from onnxbuild.sources.description import SourceFacts
from onnxbuild.sources.keras_calling import call_in_order
from onnxbuild.sources.needs import NEEDS
from onnxbuild.sources.signature import smallest_shape
from onnxbuild.sources.source import ExportedModel, SourceRequest

if TYPE_CHECKING:
    from onnxbuild.ort.session import Call


@dataclass(frozen=True)
class KerasSource:
    """Sequential, functional and subclassed models through tf2onnx; the reference calls them with training=False."""

    packages: tuple[str, ...] = NEEDS[Framework.KERAS].packages
    preload: tuple[str, ...] = NEEDS[Framework.KERAS].preload
    extra: str = NEEDS[Framework.KERAS].extra

    def export(self, request: SourceRequest, opset: int | None, folder: Path) -> ExportedModel:
        """Convert the model as it is in inference, at opset 18 or below."""
        from onnxbuild.sources.tf2onnx_export import export_function

        model, call = _load(request)
        layers = sorted({layer.name for layer in model._flatten_layers()})
        return export_function(call, model, request, opset, folder, modules=layers)

    def describe(self, request: SourceRequest) -> SourceFacts:
        """Describe a .keras file's model; a subclassed one does not know its inputs. Raises StageFailure."""
        from onnxbuild.sources import tensorflow_runtime
        from onnxbuild.sources.keras_calling import describe_calling

        tensorflow_runtime.start()
        with tensorflow_runtime.quiet():
            return describe_calling(_read(request.files["path"]))

    def reference(self, request: SourceRequest, calls: Iterable[Call]) -> Iterator[dict[str, np.ndarray]]:
        """Call the model on each call with training=False."""
        from onnxbuild.sources.tensorflow_runtime import run_calls

        _, call = _load(request)
        yield from run_calls(call, request, calls)


KIND = KerasSource()


def _load(request: SourceRequest) -> tuple[Any, Callable[..., Sequence[Any]]]:
    """Return the model with its weights, and a function of tensors in the recipe's order."""
    from onnxbuild.sources import tensorflow_runtime

    tensorflow_runtime.start()
    import keras

    with tensorflow_runtime.quiet():
        model = _read(request.files["path"]) if "path" in request.files else _make(request)
        if not isinstance(model, keras.Model):
            raise StageFailure(
                "not-a-keras-model",
                f"the factory returned {type(model).__name__}, not a keras.Model",
                hint="return the model itself, made with the `keras` package (not `tf_keras`)",
            )
        call = call_in_order(model, request)
        if "weights" in request.files:
            _load_weights(model, call, request)
    return model, call


def _read(path: Path) -> Any:
    """Return the model of a .keras file; its layers are Keras's own, nothing in it is run."""
    import keras

    if path.suffix != ".keras":
        raise StageFailure(
            "source-does-not-load",
            f"{path.name} is no .keras file; older formats can hold code that safe mode does not see",
            hint="save the model again with model.save('name.keras')",
        )
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises what it meets
        text = str(error).strip()
        if "unsafe" in text.lower():
            raise StageFailure(
                "unsafe-model",
                f"{path.name} holds Python code (a Lambda layer), which Keras does not load in safe mode",
                tool="keras",
                hint="build the model by a `factory`, with its `weights` in a .weights.h5 file",
            ) from None
        unknown = "Could not locate" in text
        raise StageFailure(
            "source-does-not-load",
            f"Keras cannot load {path.name}: {text.splitlines()[0] if text else type(error).__name__}",
            tool="keras",
            hint="custom layers need a `factory` that makes the model, with `weights`" if unknown else None,
        ) from None


def _make(request: SourceRequest) -> Any:
    factory = request.source.factory
    assert factory is not None  # the recipe has a factory or a path
    function = load_function(request.files["factory"], factory.name)
    with user_frames(f"{factory.name}()"):
        return function(**factory.args)


def _load_weights(model: Any, call: Callable[..., Sequence[Any]], request: SourceRequest) -> None:
    """Load the weights into a model that has been called once, for until then some models have no variables."""
    import tensorflow as tf

    path = request.files["weights"]
    if not model.built or not model.weights:
        with user_frames("the first call of the model"):
            call(*(tf.zeros(smallest_shape(item, request.axes), item.dtype) for item in request.inputs))
    if not path.name.endswith(".weights.h5"):
        raise StageFailure(
            "unknown-weights",
            f"Keras reads weights from .weights.h5 files, not {path.name}",
            hint="save them with model.save_weights('name.weights.h5')",
        )
    try:
        model.load_weights(path)
    except Exception as error:  # Keras and h5py raise what they meet
        reason = " ".join((str(error).strip() or type(error).__name__).split())
        raise StageFailure(
            "weights-do-not-fit",
            f"{path.name} does not fit the model that the factory returns: {reason}",
            tool="keras",
            hint="save the weights from the same architecture, or pass the `args` that they were made with",
        ) from None
