"""Loading a scikit-learn estimator and saying what its outputs are; knows nothing of ONNX."""

from __future__ import annotations

import importlib
import random
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.user_code import load_function, user_frames
from onnxbuild.recipe.types import Output
from onnxbuild.sources.source import SourceRequest

BOOSTED = ("lightgbm", "xgboost")
TRUSTED = ("sklearn", "numpy", "scipy", *BOOSTED)
"""Packages whose classes a .skops file may hold without further trust."""
CONTAINERS = ("collections.OrderedDict",)
"""Of the standard library, what LightGBM's estimators hold."""
METHODS = ("predict", "predict_proba", "decision_function", "transform")


@dataclass(frozen=True)
class Estimator:
    """A fitted estimator, the last step of its pipelines, and its methods in the converter's order of outputs.

    `flat` are the methods whose output has one dim in ONNX as well; all others have at least two.
    """

    model: Any
    final: Any
    methods: tuple[str, ...]
    flat: frozenset[str]


def load_estimator(request: SourceRequest) -> Estimator:
    """Return the fitted estimator of a factory or a saved file; raises StageFailure."""
    from sklearn.model_selection._search import BaseSearchCV
    from sklearn.pipeline import Pipeline

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = _from_file(request) if "path" in request.files else _from_factory(request)
    for message in dict.fromkeys(
        str(w.message).split("\n")[0] for w in caught if "InconsistentVersion" in str(w.category)
    ):
        request.warn("version", message)
    _check_fitted(model)
    if isinstance(model, BaseSearchCV):
        model = model.best_estimator_
    final = model
    while isinstance(final, Pipeline):
        final = final.steps[-1][1]
    _check_single_output(final)
    methods, flat = _methods(model)
    return Estimator(model, final, methods, flat)


def _from_factory(request: SourceRequest) -> Any:
    factory = request.source.factory
    assert factory is not None
    random.seed(0)
    np.random.seed(0)
    build = load_function(request.files["factory"], factory.name)
    with user_frames(f"{factory.name}() in {request.files['factory'].name}"):
        return build(**factory.args)


def _from_file(request: SourceRequest) -> Any:
    file = request.files["path"]
    if file.suffix == ".skops":
        model = _read(file, _load_skops)
        for name in BOOSTED:
            if name in sys.modules:  # the process had not imported it: the file did
                request.used(name)
        return model
    if not request.source.trust_pickle:
        raise StageFailure(
            "untrusted-pickle",
            f"{file.name} is a pickle, which runs code when it is read",
            hint="if you trust it, add `trust: pickle` and its `sha256` to the source; or save it with skops.io.dump",
        )
    import joblib  # type: ignore[import-untyped]  # it has no type information

    return _read(file, joblib.load)  # reads plain pickles too


def _read(file: Path, load: Callable[[Path], Any]) -> Any:
    try:
        return load(file)
    except StageFailure:
        raise
    except Exception as error:  # readers of pickles raise whatever the classes in them raise
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise StageFailure(
            "source-does-not-load", f"{file.name} cannot be read: {reason}", hint="was it saved with other versions?"
        ) from None


def _load_skops(file: Path) -> Any:
    import skops.io

    unknown = skops.io.get_untrusted_types(file=file)
    refused = [name for name in unknown if not _is_trusted(name)]
    if refused:
        raise StageFailure(
            "untrusted-types",
            f"{file.name} holds types that are not of {', '.join(TRUSTED)}: {', '.join(refused)}",
            hint="build the model in a factory, where your own classes are imported from your own files",
        )
    return skops.io.load(file, trusted=unknown)


def _is_trusted(name: str) -> bool:
    """Return whether a dotted name is a class or a ufunc of a trusted package: their other functions can run code."""
    if name in CONTAINERS:
        return True
    module, _, attribute = name.rpartition(".")
    if module.partition(".")[0] not in TRUSTED:
        return False
    try:
        value = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        return False
    return isinstance(value, type | np.ufunc)


def _check_fitted(model: Any) -> None:
    from sklearn.base import BaseEstimator
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if not isinstance(model, BaseEstimator):
        raise StageFailure(
            "source-does-not-load",
            f"the source is a {type(model).__name__}, not a scikit-learn estimator",
            hint="for LightGBM and XGBoost take the estimators with scikit-learn's interface, such as LGBMClassifier",
        )
    try:
        check_is_fitted(model)
    except NotFittedError:
        raise StageFailure(
            "source-does-not-load",
            f"the {type(model).__name__} is not fitted",
            hint="fit it in the factory, or load a fitted one there",
        ) from None


def _check_single_output(final: Any) -> None:
    if isinstance(getattr(final, "classes_", None), list) or int(getattr(final, "n_outputs_", 1)) > 1:
        raise StageFailure(
            "source-outputs",
            f"the {type(final).__name__} predicts several targets at once",
            hint="write a recipe for each target, with an estimator of its own",
        )


def _methods(model: Any) -> tuple[tuple[str, ...], frozenset[str]]:
    from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor

    if is_classifier(model):
        scores = "predict_proba" if hasattr(model, "predict_proba") else "decision_function"
        return ("predict", scores), frozenset({"predict"})
    if is_regressor(model):
        return ("predict",), frozenset()
    if is_clusterer(model) and hasattr(model, "predict"):
        return ("predict", "transform")[: 2 if hasattr(model, "transform") else 1], frozenset({"predict"})
    if is_outlier_detector(model) and hasattr(model, "predict"):
        return ("predict", "decision_function"), frozenset()
    if hasattr(model, "predict") and hasattr(model, "predict_proba"):  # mixtures
        return ("predict", "predict_proba"), frozenset()
    if hasattr(model, "transform"):
        return ("transform",), frozenset()
    raise StageFailure(
        "source-outputs", f"the {type(model).__name__} has no predict or transform for data it was not fitted on"
    )


def chosen_methods(estimator: Estimator, outputs: tuple[Output, ...]) -> list[str]:
    """Return the method that each output of the recipe stands for: as it says, else as its name says, else by order.

    Raises StageFailure (`source-outputs`).
    """
    known = estimator.methods
    kind = type(estimator.final).__name__
    named = [output.method or (output.name if output.name in METHODS else None) for output in outputs]
    if not any(named):
        if len(outputs) > len(known):
            raise StageFailure(
                "source-outputs",
                f"a {kind} has {len(known)} output{'s' if len(known) > 1 else ''} ({', '.join(known)}), "
                f"the recipe names {len(outputs)}",
            )
        return list(known[: len(outputs)])
    for output, method in zip(outputs, named, strict=True):
        if method not in known:
            raise StageFailure(
                "source-outputs",
                f"output {output.name} is the method {method}, which ONNX does not have for a {kind}"
                if method
                else f"output {output.name} names no method while others do",
                hint=f"a {kind} has {', '.join(known)}",
            )
    if len(set(named)) < len(named):
        raise StageFailure("source-outputs", "two outputs of the recipe are the same method", hint="name each once")
    if "decision_function" in named and len(getattr(estimator.final, "classes_", ())) == 2:
        raise StageFailure(
            "source-outputs",
            f"the decision_function of a {kind} with two classes is one column in scikit-learn and two in ONNX",
            hint="take predict, or an estimator with predict_proba",
        )
    return [str(method) for method in named]
