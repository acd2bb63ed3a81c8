"""Regression metrics over [n, columns] in double precision, averaged over columns; knows no outputs, axes or calls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxbuild.proof.compare import cosines

Doubles = NDArray[np.float64]


def mae(predicted: Doubles, labels: Doubles) -> float:
    """Return the mean absolute error."""
    return float(np.abs(predicted - labels).mean())


def rmse(predicted: Doubles, labels: Doubles) -> float:
    """Return the root of each column's mean squared error, averaged over columns as scikit-learn does."""
    return float(np.sqrt(np.square(predicted - labels).mean(axis=0)).mean())


def r2(predicted: Doubles, labels: Doubles) -> float:
    """Return the coefficient of determination, averaged over columns; NaN for fewer than two samples.

    A column of constant labels counts 1 when predicted exactly, else 0, as in scikit-learn.
    """
    if labels.shape[0] < 2:
        return float("nan")
    residual = np.square(labels - predicted).sum(axis=0)
    total = np.square(labels - labels.mean(axis=0)).sum(axis=0)
    constant = np.where(residual == 0, 1.0, 0.0)
    return float(np.where(total == 0, constant, 1 - residual / np.where(total == 0, 1, total)).mean())


def mean_cosine(predicted: Doubles, labels: Doubles) -> float:
    """Return the mean cosine of the rows of two [n, columns]."""
    return float(cosines(predicted, labels).mean())
