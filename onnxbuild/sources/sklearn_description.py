"""What a fitted scikit-learn estimator tells of its columns and outputs; loads nothing, knows nothing of ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from onnxbuild.recipe.types import Framework, Output
from onnxbuild.sources.description import DescribedInput, SourceFacts
from onnxbuild.sources.sklearn_model import Estimator

NAMES = {"predict": "prediction", "predict_proba": "probabilities", "decision_function": "scores"}
"""What the outputs are called where the recipe is drafted."""


def describe_estimator(estimator: Estimator) -> SourceFacts:
    """Return the estimator's columns and methods; it keeps no types of columns but those that encoders learnt."""
    model = estimator.model
    columns = [str(name) for name in getattr(model, "feature_names_in_", ())]
    known = dict(_encoded(model, columns))
    if _is_text(model):
        inputs: tuple[DescribedInput, ...] = (DescribedInput(name="text", dtype="string", shape=(None, 1)),)
    elif columns and _selects(model):
        inputs = tuple(DescribedInput(name=n, dtype=known.get(n, "float32"), shape=(None, 1)) for n in columns)
    else:
        width = getattr(model, "n_features_in_", None)
        note = "" if width is not None else "it does not say how many columns: write `shape: [batch, n]`"
        shape = (None, int(width)) if width is not None else None
        inputs = (DescribedInput(name="x", dtype="float32", shape=shape, note=note),)
    return SourceFacts(
        framework=Framework.SKLEARN,
        inputs=inputs,
        outputs=tuple(Output(name=NAMES.get(m, "transformed"), method=m) for m in _deliverable(estimator)),
        notes=("An estimator keeps no types of its columns: float32 where no encoder tells; write what you serve.",),
    )


def _deliverable(estimator: Estimator) -> list[str]:
    two_classes = len(getattr(estimator.final, "classes_", ())) == 2
    return [m for m in estimator.methods if not (m == "decision_function" and two_classes)]


def _steps(model: Any) -> Iterator[Any]:
    from sklearn.pipeline import Pipeline

    if isinstance(model, Pipeline):
        for _, step in model.steps:
            yield from _steps(step)
    else:
        yield model


def _is_text(model: Any) -> bool:
    from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer

    return isinstance(next(_steps(model)), CountVectorizer | HashingVectorizer)


def _selects(model: Any) -> bool:
    from sklearn.compose import ColumnTransformer

    return isinstance(next(_steps(model)), ColumnTransformer)


def _encoded(model: Any, columns: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the columns whose encoder tells their type, with it."""
    if not columns or not _selects(model):
        return
    for _, step, chosen in next(_steps(model)).transformers_:
        names = [columns[i] if isinstance(i, int | np.integer) else str(i) for i in _listed(chosen)]
        first = next((s for s in _steps(step) if hasattr(s, "categories_")), None)
        for name, categories in zip(names, first.categories_ if first is not None else (), strict=False):
            yield name, _dtype(np.asarray(categories))


def _listed(chosen: Any) -> list[Any]:
    if isinstance(chosen, str):
        return [chosen]
    values = np.atleast_1d(chosen)
    return list(np.flatnonzero(values) if values.dtype == bool else values)


def _dtype(categories: np.ndarray) -> str:
    kinds = {"O": "string", "U": "string", "S": "string", "i": "int64", "u": "int64", "b": "bool"}
    return kinds.get(categories.dtype.kind, "float32")
