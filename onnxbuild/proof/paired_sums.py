"""Metrics as functions of sums over samples, for model and source side by side; knows no draws and no limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxbuild.proof.compare import cosines
from onnxbuild.proof.metrics import Aligned

Doubles = NDArray[np.float64]

MOST_ROWS = 10_000
"""Samples beyond so many are added up in groups of neighbours: intervals from many groups are as good."""


@dataclass(frozen=True)
class Paired:
    """What samples contribute: a row [k] for each, or for `counts` equal ones; `formula` takes sums of rows [n, k]."""

    model: Doubles
    source: Doubles
    counts: NDArray[np.int64]
    formula: Callable[[Doubles], Doubles]


def paired_sums(name: str, model: Aligned, source: Aligned, samples: int) -> Paired:
    """Return the rows of any metric but roc_auc and custom ones; `samples` own the predictions in equal shares."""
    count = len(model.predicted)
    owners = np.arange(count) // (count // samples) if count % samples == 0 else np.arange(count)
    if name in ("accuracy", "f1", "precision", "recall"):
        return _of_classes(name, model, source, owners)
    if name == "top_k":
        return _of_hits(model.predicted, source.predicted, owners)
    rows = {"mae": _absolute, "rmse": _squared, "r2": _explained, "cosine": _angles}[name]
    formula = {"mae": _mean, "rmse": _root, "r2": _determination, "cosine": _mean}[name]
    groups = _groups(owners)
    ones = np.ones(groups[-1] + 1, np.int64)
    return Paired(_added(rows(model), groups), _added(rows(source), groups), ones, formula)


def _of_hits(model: np.ndarray, source: np.ndarray, owners: NDArray[np.int64]) -> Paired:
    hits = [np.asarray(part, np.float64)[:, None] for part in (model, source)]
    if owners[-1] + 1 == len(owners):  # one prediction a sample: four kinds of them
        kinds, counts = np.unique(np.hstack(hits), axis=0, return_counts=True)
        rows = [np.stack([np.ones(len(kinds)), kinds[:, column]], axis=1) for column in (0, 1)]
        return Paired(rows[0], rows[1], counts, _mean)
    groups = _groups(owners)
    ones = np.ones(groups[-1] + 1, np.int64)
    counted = [_added(np.hstack([np.ones_like(part), part]), groups) for part in hits]
    return Paired(counted[0], counted[1], ones, _mean)


def _of_classes(name: str, model: Aligned, source: Aligned, owners: NDArray[np.int64]) -> Paired:
    if name == "accuracy":
        return _of_hits(model.predicted == model.labels, source.predicted == source.labels, owners)
    parts = (model.predicted, source.predicted, model.labels)
    classes, codes = np.unique(np.concatenate(parts), return_inverse=True)
    predicted, original, labels = codes.reshape(3, -1)
    wanted = np.flatnonzero(classes == 1) if model.average == "binary" else np.arange(len(classes))
    groups, counts = _groups(owners), np.ones(0, np.int64)
    if owners[-1] + 1 == len(owners):  # one prediction a sample: samples of the same three classes are equal
        triple = (predicted * len(classes) + original) * len(classes) + labels
        _, first, groups, counts = np.unique(triple, return_index=True, return_inverse=True, return_counts=True)
        predicted, original, labels, groups = predicted[first], original[first], labels[first], np.arange(len(first))
    else:
        counts = np.ones(groups[-1] + 1, np.int64)

    def count(of: NDArray[np.int64], which: NDArray[np.bool_] | None = None) -> Doubles:
        keys = groups * len(classes) + of
        found = np.bincount(keys if which is None else keys[which], minlength=len(counts) * len(classes))
        return np.asarray(found.reshape(len(counts), -1)[:, wanted], np.float64)

    def rows(own: NDArray[np.int64]) -> Doubles:
        return np.concatenate([count(own, own == labels), count(own), count(labels)], axis=1)

    return Paired(rows(predicted), rows(original), counts, _CLASS_FORMULAS[name])


def _groups(owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the row that each prediction is added to, neighbours together where there are too many."""
    samples = int(owners[-1]) + 1
    return owners if samples <= MOST_ROWS else owners * MOST_ROWS // samples


def _added(rows: Doubles, groups: NDArray[np.int64]) -> Doubles:
    starts = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))
    return np.asarray(np.add.reduceat(rows, starts, axis=0))


def _counted(rows: Doubles) -> Doubles:
    return np.concatenate([np.ones((len(rows), 1)), rows], axis=1)


def _absolute(aligned: Aligned) -> Doubles:
    return _counted(np.abs(aligned.predicted - aligned.labels).mean(axis=1, keepdims=True))


def _angles(aligned: Aligned) -> Doubles:
    return _counted(cosines(aligned.predicted, aligned.labels)[:, None])


def _squared(aligned: Aligned) -> Doubles:
    return _counted(np.square(aligned.predicted - aligned.labels))


def _explained(aligned: Aligned) -> Doubles:
    """Return squared errors, labels less their mean, and the squares of those, for each column."""
    apart = aligned.labels - aligned.labels.mean(axis=0)
    return _counted(np.concatenate([np.square(aligned.labels - aligned.predicted), apart, np.square(apart)], axis=1))


def _mean(sums: Doubles) -> Doubles:
    return np.asarray(sums[:, 1] / sums[:, 0])


def _root(sums: Doubles) -> Doubles:
    return np.asarray(np.sqrt(sums[:, 1:] / sums[:, :1]).mean(axis=1))


def _determination(sums: Doubles) -> Doubles:
    residual, apart, squares = np.split(sums[:, 1:], 3, axis=1)
    total = squares - np.square(apart) / sums[:, :1]
    constant = total <= 1e-12 * np.maximum(squares, np.finfo(np.float64).tiny)
    single = np.where(residual == 0, 1.0, 0.0)
    return np.asarray(np.where(constant, single, 1 - residual / np.where(constant, 1, total)).mean(axis=1))


def _ratios(part: Doubles, whole: Doubles, present: Doubles) -> Doubles:
    """Return the mean over classes that are there of a share that is 0 without cases, as in scikit-learn."""
    shares = np.where(whole > 0, part / np.where(whole > 0, whole, 1), 0.0)
    there = present > 0 if present.shape[1] > 1 else np.ones_like(present, np.bool_)
    return np.asarray((shares * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1))


def _precision(sums: Doubles) -> Doubles:
    hits, called, true = np.split(sums, 3, axis=1)
    return _ratios(hits, called, called + true)


def _recall(sums: Doubles) -> Doubles:
    hits, called, true = np.split(sums, 3, axis=1)
    return _ratios(hits, true, called + true)


def _f1(sums: Doubles) -> Doubles:
    hits, called, true = np.split(sums, 3, axis=1)
    return _ratios(2 * hits, called + true, called + true)


_CLASS_FORMULAS = {"precision": _precision, "recall": _recall, "f1": _f1}
