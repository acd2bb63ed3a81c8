"""Task metrics of one output against labels, call by call: from outputs to what the formulas take; knows no files.

The same scorer, given the source's outputs and then the model's, makes the two numbers comparable.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.proof import classification, regression

METRICS = ("accuracy", "top_k", "f1", "precision", "recall", "roc_auc", "mae", "rmse", "r2", "cosine")
NO_CLASS = -1
"""What a sample with a NaN score is taken for: no label, so it always counts as wrong."""
_OF_CLASSES = ("accuracy", "f1", "precision", "recall")
_NUMERIC = "biuf"


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """Which metric, along which `axis` of the output the classes (or, for cosine, the components) lie, and its options.

    `threshold` parts the two classes of an output with one score a sample: `decide_threshold` finds it.
    """

    name: str
    axis: int = -1
    average: str | None = None
    k: int = 5
    threshold: float = 0.5


def score(setting: Setting, outputs: Iterable[np.ndarray], labels: np.ndarray) -> float:
    """Return the metric over the outputs of all calls, NaN where it is not defined; raises StageFailure."""
    scorer = Scorer(setting, labels)
    for output in outputs:
        scorer.add(output)
    return scorer.result()


def decide_threshold(outputs: Iterable[np.ndarray]) -> float:
    """Return 0.5 where all of the source's scores lie in [0, 1], as probabilities do, else 0, as for logits.

    It is decided on the source and used for both, so that one stray value cannot move the model's threshold.
    """
    for output in outputs:
        if output.dtype.kind in "OUT":
            break
        values = output.astype(np.float64)
        if np.any((values < 0) | (values > 1)):
            return 0.0
    return 0.5


@dataclass(frozen=True)
class Aligned:
    """Predictions (classes, hits, scores or numbers) beside their labels; `average` is that of f1 and its like."""

    predicted: np.ndarray
    labels: np.ndarray
    average: str = "macro"


@dataclass
class Scorer:
    """One metric's running collection: `add` each call's output in order, then take the `result`.

    Classes and hits are kept, not scores, where the metric needs no more. Raises StageFailure
    (`labels-do-not-match`, `metric-does-not-apply`).
    """

    setting: Setting
    labels: np.ndarray
    _parts: list[np.ndarray] = field(default_factory=list)
    _seen: int = 0
    _classes: int = 0

    def add(self, output: np.ndarray) -> None:
        """Count one call's output."""
        name = self.setting.name
        output = np.asarray(output)
        if name in _OF_CLASSES:
            self._parts.append(self._to_classes(output))
        elif name == "top_k":
            self._parts.append(self._to_hits(output))
        elif name in ("roc_auc", "cosine"):
            self._parts.append(self._to_rows(output))
        else:
            self._parts.append(self._numbers(output).reshape(-1))

    def result(self) -> float:
        """Return the metric of all calls; NaN where it is not defined."""
        aligned = self.aligned()
        if aligned is None:
            return math.nan
        predicted, labels, name = aligned.predicted, aligned.labels, self.setting.name
        match name:
            case "accuracy":
                return classification.accuracy(predicted, labels)
            case "f1" | "precision" | "recall":
                return classification.precision_recall_f1(predicted, labels, aligned.average)[name]
            case "top_k":
                return float(predicted.mean())
            case "roc_auc" if predicted.shape[1] > 2:
                return classification.roc_auc_one_vs_rest(predicted, labels)
            case "roc_auc":
                return classification.roc_auc(predicted[:, -1], labels == 1)
            case "cosine":
                return regression.mean_cosine(predicted, labels)
        formula = {"mae": regression.mae, "rmse": regression.rmse, "r2": regression.r2}[name]
        return formula(predicted, labels)

    def aligned(self) -> Aligned | None:
        """Return all predictions beside their labels, as the metric's formula takes them; None without any call."""
        if not self._parts:
            return None
        values = np.concatenate(self._parts)
        name = self.setting.name
        if name in _OF_CLASSES:
            return self._align_classes(values)
        if name == "top_k":
            self._check_count(values.size)
            return Aligned(values, self.labels.reshape(-1))
        if name == "roc_auc":
            return self._align_roc_auc(values)
        if name == "cosine":
            labels = self._numbers(self.labels, "the labels").reshape(-1, values.shape[1])
            self._check_count(values.size)
            return Aligned(values, labels)
        return self._align_numbers(values)

    def _to_classes(self, output: np.ndarray) -> np.ndarray:
        """Return class indices, labels, or (single floats) scores whose threshold is still to be applied."""
        if output.dtype.kind in "OUTbiu":
            return output.reshape(-1)
        if output.ndim > 1 and output.shape[self._axis(output)] > 1:
            scores = np.moveaxis(self._numbers(output), self.setting.axis, -1)
            self._classes = scores.shape[-1]
            found = np.where(np.isnan(scores).any(axis=-1), NO_CLASS, scores.argmax(axis=-1))
            return np.asarray(found).reshape(-1)
        return self._numbers(output).reshape(-1)

    def _to_hits(self, output: np.ndarray) -> np.ndarray:
        scores = self._to_rows(output)
        if self.setting.k >= scores.shape[1]:
            raise _wrong(f"top_k with k {self.setting.k} of {scores.shape[1]} classes is always 1")
        self._classes = scores.shape[1]
        own = self._indices()[self._seen : self._seen + len(scores)]
        self._seen += len(scores)
        if len(own) < len(scores):
            self._check_count(self._seen)
        return classification.top_k_hits(scores, own, self.setting.k)

    def _to_rows(self, output: np.ndarray) -> np.ndarray:
        """Return numbers as [samples, classes]; a vector has one a sample."""
        numbers = self._numbers(output)
        if numbers.ndim < 2:
            return numbers.reshape(-1, 1)
        moved = np.moveaxis(numbers, self._axis(output), -1)
        return moved.reshape(-1, moved.shape[-1])

    def _axis(self, output: np.ndarray) -> int:
        axis = self.setting.axis
        if not -output.ndim <= axis < output.ndim:
            raise _wrong(f"axis {axis} is not in the output's shape {list(output.shape)}")
        return axis

    def _numbers(self, values: np.ndarray, what: str = "the output") -> np.ndarray:
        if values.dtype.kind in "OUT":
            raise _wrong(f"{self.setting.name} needs numbers, {what} holds strings")
        return values.astype(np.float64)

    def _indices(self) -> np.ndarray:
        """Return the labels as class indices below the number of classes."""
        labels = self.labels.reshape(-1)
        if labels.dtype.kind not in _NUMERIC:
            raise _wrong("the labels are strings and the output holds scores; name the output that holds the classes")
        whole = labels.astype(np.int64)
        if np.any(whole != labels):
            raise _mismatch("the labels are no class indices: some are not whole numbers")
        if whole.size and (whole.min() < 0 or whole.max() >= self._classes):
            found = f"the labels run from {whole.min()} to {whole.max()}"
            raise _mismatch(f"{found}, the output has classes 0 to {self._classes - 1}")
        return whole

    def _check_count(self, values: int) -> None:
        if values != self.labels.size:
            raise _mismatch(f"there are {self.labels.size} labels and the outputs make {values} predictions")

    def _align_classes(self, predicted: np.ndarray) -> Aligned:
        labels = self.labels.reshape(-1)
        self._check_count(predicted.size)
        if self._classes:
            labels = self._indices()
        elif predicted.dtype.kind == "f":
            labels, above = self._two_classes(labels), (predicted > self.setting.threshold).astype(np.int64)
            predicted = np.where(np.isnan(predicted), NO_CLASS, above)
        elif (predicted.dtype.kind in _NUMERIC) != (labels.dtype.kind in _NUMERIC):
            raise _mismatch(f"the output holds {_kind(predicted)}, the labels are {_kind(labels)}")
        if self.setting.name == "accuracy":
            return Aligned(predicted, labels)
        binary = _is_binary(labels) and _is_binary(predicted[predicted != NO_CLASS])
        average = self.setting.average or ("binary" if binary else "macro")
        if average == "binary" and not binary:
            raise _wrong("the labels are not just 0 and 1; write 'average: macro'")
        return Aligned(predicted, labels, average)

    def _two_classes(self, labels: np.ndarray) -> np.ndarray:
        if not _is_binary(labels):
            raise _wrong("the output has one score a sample, and the labels are not just 0 and 1")
        return labels.astype(np.int64)

    def _align_roc_auc(self, scores: np.ndarray) -> Aligned:
        labels = self.labels.reshape(-1)
        if labels.size != len(scores):
            self._check_count(len(scores))
        if scores.shape[1] > 2:
            self._classes = scores.shape[1]
            return Aligned(scores, self._indices())
        return Aligned(scores, self._two_classes(labels))

    def _align_numbers(self, predicted: np.ndarray) -> Aligned:
        labels = self._numbers(self.labels, "the labels")
        self._check_count(predicted.size)
        rows = labels.reshape(labels.shape[0] if labels.ndim else 1, -1)
        return Aligned(predicted.reshape(rows.shape), rows)


def _is_binary(values: np.ndarray) -> bool:
    return values.dtype.kind in _NUMERIC and bool(np.isin(values, (0, 1)).all())


def _kind(values: np.ndarray) -> str:
    return "numbers" if values.dtype.kind in _NUMERIC else "strings"


def _wrong(message: str) -> StageFailure:
    return StageFailure("metric-does-not-apply", message, hint="change `evaluation` in the recipe")


def _mismatch(message: str) -> StageFailure:
    return StageFailure("labels-do-not-match", message, hint="change the data, or `evaluation` in the recipe")
