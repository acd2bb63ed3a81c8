"""Classification metrics over class indices or scores, by their definitions; knows no outputs, axes or calls."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of predictions that equal their label."""
    return float(np.mean(predicted == labels))


def top_k_hits(scores: np.ndarray, labels: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Return for each row of `scores` [n, classes] whether its label is among the k largest.

    Of equal scores the class with the higher index comes first, as in scikit-learn's top_k_accuracy_score.
    """
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    later = np.arange(scores.shape[1])[None, :] > labels[:, None]
    ahead = np.count_nonzero((scores > own) | ((scores == own) & later), axis=1)
    return np.asarray((ahead < k) & ~np.isnan(own[:, 0]))


def precision_recall_f1(predicted: np.ndarray, labels: np.ndarray, average: str) -> dict[str, float]:
    """Return precision, recall and F1 (van Rijsbergen 1979): of class 1 (`binary`) or the mean over classes (`macro`).

    Macro classes are those of labels and predictions together; a ratio without cases is 0, as in scikit-learn.
    """
    classes = np.array([1]) if average == "binary" else np.unique(np.concatenate([labels, predicted]))
    per_class = []
    for wanted in classes:
        true, called = labels == wanted, predicted == wanted
        hits = np.sum(true & called)
        of_called, of_true = np.sum(called), np.sum(true)
        per_class.append((_ratio(hits, of_called), _ratio(hits, of_true), _ratio(2 * hits, of_called + of_true)))
    precision, recall, f1 = np.mean(per_class, axis=0).tolist()
    return {"precision": precision, "recall": recall, "f1": f1}


def roc_auc(scores: Doubles, positive: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve as the Mann-Whitney U statistic over mid-ranks (Hanley and McNeil 1982).

    NaN when only one class is there or a score is NaN.
    """
    positives = int(np.count_nonzero(positive))
    negatives = positive.size - positives
    if not positives or not negatives or np.isnan(scores).any():
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[inverse]
    wins = ranks[positive].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def roc_auc_one_vs_rest(scores: Doubles, labels: NDArray[np.int64]) -> float:
    """Return the mean over classes of each class's area against the rest; NaN when a class has no sample."""
    return float(np.mean([roc_auc(scores[:, c], labels == c) for c in range(scores.shape[1])]))


def _ratio(part: np.integer[Any], whole: np.integer[Any]) -> float:
    return float(part) / float(whole) if whole else 0.0
