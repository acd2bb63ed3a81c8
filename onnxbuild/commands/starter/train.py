"""Trains the starter project's classifier on scikit-learn's iris data and writes model and held-out data beside itself.

Run `python -m onnxbuild.commands.starter.train` with the sklearn extra; the committed files come from it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDER = Path(__file__).parent


def main() -> None:
    """Train, print the held-out accuracy, and write iris.onnx and iris_test.npz."""
    x, y = load_iris(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        x.astype(np.float32), y, test_size=0.4, random_state=0, stratify=y
    )
    model = make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=2000, random_state=0)).fit(train_x, train_y)
    print(f"accuracy {model.score(test_x, test_y):.4f}")
    classifier = to_onnx(model, train_x[:1], target_opset=18, options={"zipmap": False})
    (FOLDER / "iris.onnx").write_bytes(classifier.SerializeToString())
    np.savez(FOLDER / "iris_test.npz", x=test_x, labels=test_y)


if __name__ == "__main__":
    main()
