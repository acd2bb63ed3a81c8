"""Splits scikit-learn's digits into train and test once and for all, in the layouts models want; knows no model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED = 0
CALIBRATION = 256

# How one digit of 8 x 8 pixels is laid out, by the name of the input that takes it so.
LAYOUTS = {"nchw": (1, 8, 8), "nhwc": (8, 8, 1), "rows": (8, 8), "pixels": (64,)}

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


def digits(layout: str) -> tuple[Floats, Labels, Floats, Labels]:
    """Return the train images and labels, then the test images and labels; pixels lie in [0, 1]."""
    bunch = load_digits()
    images = (bunch.data / 16).astype(np.float32).reshape(-1, *LAYOUTS[layout])
    train, test = train_test_split(
        np.arange(len(images)), test_size=0.25, random_state=SEED, stratify=bunch.target, shuffle=True
    )
    labels = bunch.target.astype(np.int64)
    return images[train], labels[train], images[test], labels[test]


def batches(count: int, size: int, generator: np.random.Generator) -> list[NDArray[np.int64]]:
    """Return one epoch's batches of row numbers in random order."""
    return np.array_split(generator.permutation(count), max(1, count // size))
