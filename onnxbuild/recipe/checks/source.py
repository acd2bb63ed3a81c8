"""A source's keys against its framework: which may stand together, and which kinds of file it takes; reads no file."""

from __future__ import annotations

from onnxbuild.recipe.draft import Draft
from onnxbuild.recipe.types import Framework, Source, Target

FACTORIES = frozenset({Framework.TORCH, Framework.KERAS, Framework.SKLEARN})
WEIGHTS = {Framework.TORCH: (".safetensors", ".pt", ".pth"), Framework.KERAS: (".weights.h5",)}
PATHS = {
    Framework.TORCH: (".pt2",),
    Framework.TENSORFLOW: (),
    Framework.KERAS: (".keras",),
    Framework.TFLITE: (".tflite",),
    Framework.SKLEARN: (".skops", ".joblib", ".pkl"),
    Framework.ONNX: (".onnx",),
}
"""Endings of a saved model; none for a folder."""
PICKLES = (".pt2", ".joblib", ".pkl")


def check_source_shape(draft: Draft, target: Target) -> None:
    """Note keys that the framework has no use for, wrong kinds of file, and a pickle nobody vouched for."""
    source = target.source
    name = source.framework.value
    if source.factory is not None and source.framework not in FACTORIES:
        hint = "a framework with factories is torch, keras or sklearn"
        draft.error("wrong-source", f"{name} takes a `path`, not a factory", draft.key("source", "factory"), "source",
                    hint=hint)  # fmt: skip
    if source.factory is None:
        for key in ("args", "weights"):
            if draft.has("source", key):
                message = f"`{key}` belongs to a factory, and this source has none"
                draft.error("wrong-source", message, draft.key("source", key), "source")
    elif source.weights is not None and source.framework in FACTORIES:
        _check_weights(draft, source)
    if source.path is not None:
        _check_path(draft, source)
    if draft.has("source", "signature") and source.framework is not Framework.TENSORFLOW:
        message = f"only a TensorFlow SavedModel has signatures, not {name}"
        draft.error("wrong-source", message, draft.key("source", "signature"), "source")
    if source.sha256 is not None and source.path is None and source.weights is None:
        message = "`sha256` pins `path` or `weights`, and there is neither"
        draft.error("wrong-source", message, draft.key("source", "sha256"), "source")


def _check_weights(draft: Draft, source: Source) -> None:
    assert source.weights is not None
    endings = WEIGHTS.get(source.framework)
    if endings is None:
        message = f"{source.framework.value} takes no `weights`; the factory returns the fitted model"
        draft.error("wrong-source", message, draft.key("source", "weights"), "source")
    elif not source.weights.endswith(endings):
        message = f"{source.framework.value} weights end in {_either(endings)}, not '{source.weights}'"
        draft.error("wrong-extension", message, draft.value("source", "weights"), "source")


def _check_path(draft: Draft, source: Source) -> None:
    assert source.path is not None
    endings = PATHS[source.framework]
    place = draft.value("source", "path")
    if endings and not source.path.endswith(endings):
        message = f"a model of {source.framework.value} ends in {_either(endings)}, not '{source.path}'"
        hint = None
        if source.framework is Framework.TORCH and source.path.endswith((".pt", ".pth", ".safetensors")):
            hint = "these are weights: name a `factory` and put the file under `weights`"
        draft.error("wrong-extension", message, place, "source", hint=hint)
    elif source.path.endswith(PICKLES) and not (source.trust_pickle and source.sha256 is not None):
        lacking = [
            key for key, there in (("trust: pickle", source.trust_pickle), ("sha256", source.sha256)) if not there
        ]
        message = f"loading {source.path} can run code, so the recipe must say that it trusts this very file"
        hint = "add " + " and ".join(f"`{key}`" for key in lacking) + " under `source`"
        draft.error("untrusted-pickle", message, place, "source", hint=hint)


def _either(endings: tuple[str, ...]) -> str:
    return " or ".join((", ".join(endings[:-1]), endings[-1])) if len(endings) > 1 else endings[0]
