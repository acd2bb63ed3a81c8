"""A TensorFlow SavedModel: one of its signatures, converted and run; knows nothing of how it was made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxbuild.base.diagnostics import StageFailure, did_you_mean
from onnxbuild.recipe.types import Framework, Output
from onnxbuild.sources.description import DescribedInput, SourceFacts
from onnxbuild.sources.needs import NEEDS
from onnxbuild.sources.signature import SourceValue, match_inputs, match_outputs
from onnxbuild.sources.source import ExportedModel, SourceRequest

if TYPE_CHECKING:
    from onnxbuild.ort.session import Call


@dataclass(frozen=True)
class _Signature:
    """A loaded signature: `call` takes tensors and returns them, both in the recipe's order; `owner` keeps it alive."""

    owner: object
    call: Callable[..., Sequence[Any]]


@dataclass(frozen=True)
class TensorflowSource:
    """SavedModel folders through tf2onnx; the reference calls the signature."""

    packages: tuple[str, ...] = NEEDS[Framework.TENSORFLOW].packages
    preload: tuple[str, ...] = NEEDS[Framework.TENSORFLOW].preload
    extra: str = NEEDS[Framework.TENSORFLOW].extra

    def export(self, request: SourceRequest, opset: int | None, folder: Path) -> ExportedModel:
        """Convert the signature with its variables as constants, at opset 18 or below."""
        from onnxbuild.sources.tf2onnx_export import export_function

        signature = _load(request)
        return export_function(signature.call, signature.owner, request, opset, folder)

    def describe(self, request: SourceRequest) -> SourceFacts:
        """Describe the signature that serves by default, else the only or first one; raises StageFailure."""
        loaded = _read(request)
        known = sorted(getattr(loaded, "signatures", {}))
        wanted = request.source.signature
        name = wanted if wanted in known or not known else known[0]
        function = _find(getattr(loaded, "signatures", {}), name)
        others = [other for other in known if other != name]
        notes = (f"The model has other signatures too: {', '.join(others)}.",) if others else ()
        any_rank = "the signature takes any rank: write the shape you serve, such as `shape: [batch, 10]`"
        return SourceFacts(
            framework=Framework.TENSORFLOW,
            inputs=tuple(
                DescribedInput(name=v.name, dtype=v.dtype, shape=v.shape, note=any_rank if v.shape is None else "")
                for v in _inputs(function)
            ),
            outputs=tuple(Output(name=name) for name in sorted(function.structured_outputs)),
            signature=name,
            notes=notes,
        )

    def reference(self, request: SourceRequest, calls: Iterable[Call]) -> Iterator[dict[str, np.ndarray]]:
        """Call the signature on each call."""
        from onnxbuild.sources.tensorflow_runtime import run_calls

        yield from run_calls(_load(request).call, request, calls)


KIND = TensorflowSource()


def _read(request: SourceRequest) -> Any:
    from onnxbuild.sources import tensorflow_runtime

    tensorflow_runtime.start()
    import tensorflow as tf

    folder = request.files["path"]
    try:
        with tensorflow_runtime.quiet():
            return tf.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises a dozen types for a broken folder
        raise StageFailure(
            "source-does-not-load", f"TensorFlow cannot load {folder.name}: {_first_line(error)}", tool="tensorflow"
        ) from None


def _inputs(function: Any) -> list[SourceValue]:
    """Return the inputs of a signature, sorted by name as its order is not kept."""
    _, keywords = function.structured_input_signature
    return [
        SourceValue(name, spec.dtype.name, None if spec.shape.rank is None else tuple(spec.shape.as_list()))
        for name, spec in sorted(keywords.items())
    ]


def _load(request: SourceRequest) -> _Signature:
    loaded = _read(request)
    function = _find(getattr(loaded, "signatures", {}), request.source.signature)
    names = [value.name for value in match_inputs(request.inputs, _inputs(function))]
    outputs = sorted(function.structured_outputs)
    picked = [outputs[i] for i in match_outputs([item.name for item in request.outputs], outputs)]

    def call(*tensors: Any) -> list[Any]:
        result = function(**dict(zip(names, tensors, strict=True)))
        return [result[name] for name in picked]

    return _Signature(owner=loaded, call=call)


def _find(signatures: Any, name: str) -> Any:
    known = sorted(signatures)
    if name in known:
        return signatures[name]
    raise StageFailure(
        "no-such-signature",
        f"the SavedModel has no signature '{name}'; it has {', '.join(known) if known else 'none'}",
        hint=did_you_mean(name, known)
        or (f"write `signature: {known[0]}` under `source`" if known else "save the model again with signatures"),
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
