"""How to call a Keras model: which argument each declared input is, and which output each name; loads nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import Framework, Output
from onnxbuild.sources.description import DescribedInput, SourceFacts
from onnxbuild.sources.signature import SourceValue, match_inputs, match_outputs
from onnxbuild.sources.source import SourceRequest

_NOT_DATA = {"training", "mask"}


def call_in_order(model: Any, request: SourceRequest) -> Callable[..., Sequence[Any]]:
    """Return a function that takes tensors and returns a list of tensors, both in the recipe's order.

    The model runs as in inference. Raises StageFailure when the declared inputs cannot be the model's, or when
    it takes or returns nested values or dictionaries of inputs.
    """
    functional = _knows_inputs(model)
    arrange = _arrange_known(model, request) if functional else _arrange_subclassed(model, request)
    given = list(model.output_names) if functional and hasattr(model, "output_names") else None
    wanted = [item.name for item in request.outputs]

    def call(*tensors: Any) -> list[Any]:
        positional, keywords = arrange(tensors)
        return _pick(model(*positional, **keywords, training=False), wanted, given)

    return call


def describe_calling(model: Any) -> SourceFacts:
    """Return the inputs and outputs that a graph of layers knows.

    Raises StageFailure for a model that is known only by its `call`, and for nested or named structures.
    """
    if not _knows_inputs(model):
        raise StageFailure(
            "inputs-unknown",
            f"the file holds a {type(model).__name__}, which does not say what inputs it takes",
            hint="write its recipe by hand, or save a functional model (keras.Model(inputs, outputs))",
        )
    _, values = _known_inputs(model)
    names = [str(name) for name in getattr(model, "output_names", ())]
    return SourceFacts(
        framework=Framework.KERAS,
        inputs=tuple(DescribedInput(name=v.name, dtype=v.dtype, shape=v.shape) for v in values),
        outputs=tuple(Output(name=name) for name in names or ["output"]),
    )


Arrange = Callable[[Sequence[Any]], tuple[Sequence[Any], dict[str, Any]]]
"""From tensors in the recipe's order to the model's positional and keyword arguments."""


def _knows_inputs(model: Any) -> bool:
    """Tell whether the model is a graph of layers, whose inputs and outputs Keras knows before any call."""
    import keras
    from keras.src.models.functional import Functional

    return isinstance(model, Functional) or (isinstance(model, keras.Sequential) and bool(model.built and model.inputs))


def _arrange_known(model: Any, request: SourceRequest) -> Arrange:
    """Arrange for a model that knows its inputs: one tensor, or one flat list."""
    single, values = _known_inputs(model)
    matched = match_inputs(request.inputs, values)
    positions = [matched.index(value) for value in values]

    def arrange(tensors: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        ordered = [tensors[position] for position in positions]
        return (ordered[0] if single else ordered,), {}

    return arrange


def _known_inputs(model: Any) -> tuple[bool, list[SourceValue]]:
    """Return whether the model takes one tensor rather than a list, and its inputs in its own order."""
    import keras

    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    if isinstance(structure, Mapping):
        raise _nested("a dictionary of inputs")
    flat = list(structure) if isinstance(structure, list | tuple) else [structure]
    if any(isinstance(item, list | tuple | Mapping) for item in flat):
        raise _nested("nested inputs")
    values = [SourceValue(t.name, str(t.dtype), tuple(t.shape)) for t in flat]
    if isinstance(model, keras.Sequential):  # built by a first call, it has that call's batch and takes any
        values = [SourceValue(v.name, v.dtype, (None, *(v.shape or ())[1:])) for v in values]
    return not isinstance(structure, list | tuple), values


def _arrange_subclassed(model: Any, request: SourceRequest) -> Arrange:
    """Arrange for a model known only by its `call`: an argument for each input, or one list of them."""
    parameters = [p for p in inspect.signature(model.call).parameters.values() if p.name not in _NOT_DATA]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p.name for p in positional if p.default is p.empty]
    names = [item.name for item in request.inputs]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if set(required) <= set(names) <= {p.name for p in positional}:
        return lambda tensors: ((), dict(zip(names, tensors, strict=True)))
    if takes_any or len(required) <= len(names) <= len(positional):
        return lambda tensors: (tensors, {})
    if len(required) <= 1 <= len(positional):
        return lambda tensors: ((list(tensors),), {})
    raise StageFailure(
        "source-inputs",
        f"the recipe declares {len(names)} inputs, {type(model).__name__}.call takes {', '.join(required)}",
        hint="declare each argument of call under `inputs`",
    )


def _pick(result: Any, wanted: Sequence[str], given: Sequence[str] | None) -> list[Any]:
    """Return the outputs in the recipe's order from what the model returned."""
    if isinstance(result, Mapping):
        names = [str(name) for name in result]
        if set(wanted) <= set(names) or len(names) == len(wanted) == 1:
            values = list(result.values())
            return [_tensor(values[i]) for i in match_outputs(wanted, names)]
        raise StageFailure(
            "source-outputs",
            f"the model returns a dictionary with {', '.join(names)}; the recipe's outputs are {', '.join(wanted)}",
            hint="name the outputs under `outputs` as the model does",
        )
    flat = list(result) if isinstance(result, list | tuple) else [result]
    known = given if given is not None and len(given) == len(flat) else [f"output {i}" for i in range(len(flat))]
    return [_tensor(flat[i]) for i in match_outputs(wanted, known)]


def _tensor(value: Any) -> Any:
    if isinstance(value, list | tuple | Mapping):
        raise _nested("nested outputs")
    return value


def _nested(what: str) -> StageFailure:
    return StageFailure(
        "nested-values",
        f"the model has {what}; an ONNX graph has a flat list of tensors",
        hint="wrap the model in one whose call takes and returns tensors or one flat list",
    )
