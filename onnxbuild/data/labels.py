"""Labels of all calls as one array, and how many samples each class has; knows no outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxbuild.data.fit import as_strings, cast_numbers, does_not_fit

CLASSES_LISTED = 50


def join_labels(parts: Sequence[np.ndarray], name: str) -> tuple[np.ndarray, int]:
    """Return the labels of all calls along axis 0, and how many missing strings became ""; raises StageFailure."""
    try:
        labels = np.concatenate([np.atleast_1d(part) for part in parts])
    except ValueError as error:
        raise does_not_fit(f"the labels '{name}' of all calls make no array: {error}") from None
    what = f"the labels '{name}'"
    if labels.dtype.kind in "OUTS":
        return as_strings(labels, what)
    if labels.dtype.kind not in "biuf":
        return cast_numbers(labels, "float32", what), 0
    return labels, 0


def count_classes(labels: np.ndarray) -> dict[str, int]:
    """Return how many samples each class has, by class in order; empty where labels are no classes or too many."""
    if labels.dtype.kind not in "biuO" or labels.size != labels.shape[0]:
        return {}
    classes, counts = np.unique(labels.reshape(-1), return_counts=True)
    if len(classes) > CLASSES_LISTED:
        return {}
    return {str(name): int(count) for name, count in zip(classes.tolist(), counts.tolist(), strict=True)}
