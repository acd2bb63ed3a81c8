"""Calls as what a scikit-learn estimator takes: a matrix, or a DataFrame of columns; knows nothing of ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import Input


def check_columns(inputs: tuple[Input, ...], model: Any) -> tuple[Input, ...]:
    """Return the inputs in the order the estimator was fitted with; raises StageFailure (`source-inputs`).

    One [batch, n] input is a matrix; several [batch, 1] inputs are the columns of a DataFrame.
    """
    for value in inputs:
        if len(value.shape) != 2 or not isinstance(value.shape[0], str):
            raise StageFailure(
                "source-inputs",
                f"input {value.name} is declared {list(value.shape)}; an estimator takes rows of columns",
                hint="declare [batch, n] for a matrix, or one [batch, 1] for each column",
            )
    known = [str(name) for name in getattr(model, "feature_names_in_", ())]
    if len(inputs) == 1:
        _check_width(inputs[0], model)
        return inputs
    if wide := [value.name for value in inputs if value.shape[1] != 1]:
        raise StageFailure(
            "source-inputs",
            f"several inputs are the columns of a DataFrame, each [batch, 1]; {', '.join(wide)} is not",
            hint="declare one [batch, n] matrix, or one [batch, 1] input for each column",
        )
    if not known:
        _check_count(len(inputs), model)
        return inputs
    by_name = {value.name: value for value in inputs}
    absent, extra = [n for n in known if n not in by_name], [n for n in by_name if n not in known]
    if absent or extra:
        problems = [f"it lacks {', '.join(absent)}"] * bool(absent) + [
            f"no column is called {', '.join(extra)}"
        ] * bool(extra)
        raise StageFailure(
            "source-inputs",
            f"the inputs do not fit the columns that the estimator was fitted with: {'; '.join(problems)}",
            hint=f"the columns are {', '.join(known)}",
        )
    return tuple(by_name[name] for name in known)


def _check_width(value: Input, model: Any) -> None:
    width = value.shape[1]
    if not isinstance(width, int):
        raise StageFailure(
            "source-inputs",
            f"input {value.name} has a dynamic number of columns",
            hint="an estimator has a fixed number",
        )
    _check_count(width, model)


def _check_count(count: int, model: Any) -> None:
    wanted = getattr(model, "n_features_in_", None)
    if wanted is not None and int(wanted) != count:
        raise StageFailure(
            "source-inputs", f"the estimator was fitted with {wanted} columns, the recipe declares {count}"
        )


def table_of(call: Mapping[str, np.ndarray], columns: tuple[Input, ...], model: Any, *, text: bool) -> Any:
    """Return one call as the estimator takes it: DataFrame, matrix, or with `text` a list of texts.

    Text columns are of dtype object, as ONNX strings are; a matrix gets the column names that the estimator knows.
    """
    import pandas as pd

    if text:
        return call[columns[0].name].reshape(-1)
    if len(columns) > 1:
        data = {value.name: pd.Series(call[value.name].reshape(-1), dtype=_dtype(value)) for value in columns}
        return pd.DataFrame(data)
    matrix = call[columns[0].name]
    names = getattr(model, "feature_names_in_", None)
    return matrix if names is None else pd.DataFrame(matrix, columns=list(names), dtype=_dtype(columns[0]))


def _dtype(value: Input) -> Any:
    return np.dtype(object) if value.dtype == "string" else np.dtype(value.dtype)
