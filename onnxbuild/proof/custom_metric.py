"""Calling a recipe's own metric on all outputs, labels and inputs at once; knows no sessions."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.user_code import load_function, user_frames
from onnxbuild.data.calls import Calls, rows
from onnxbuild.recipe.types import Function

Joined = dict[str, np.ndarray | list[np.ndarray]]
"""Arrays of all samples by name; a list with one array a call where their dims differ beyond axis 0."""


def score_custom(file: Path, function: Function, outputs: Calls, labels: np.ndarray | None, inputs: Calls) -> float:
    """Return what the user's `(outputs, labels, inputs) -> float` says; raises StageFailure with its traceback."""
    metric = load_function(file, function.name)
    arguments = join(outputs), None if labels is None else labels.copy(), join(inputs)
    with user_frames(f"the metric '{function.name}'"):
        value = metric(*arguments, **function.args)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bool) or not isinstance(value, numbers.Real | np.floating | np.integer):
        kind = type(value).__name__
        raise StageFailure(
            "metric-result", f"the metric '{function.name}' must return one number, it returned a {kind}"
        )
    return float(value)


def join(calls: Calls) -> Joined:
    """Return the arrays of all calls joined along axis 0, by name."""
    return {name: _join_one(calls, name) for name in calls.names}


def _join_one(calls: Iterable[dict[str, np.ndarray]], name: str) -> np.ndarray | list[np.ndarray]:
    try:
        return rows(calls, name)
    except ValueError:
        return [call[name].copy() for call in calls]
