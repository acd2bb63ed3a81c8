"""Trains the classifier of the project that `onnxbuild init` writes, on scikit-learn's iris data."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
from shared import write_arrays
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

STARTER = Path(__file__).resolve().parents[2] / "onnxbuild/commands/starter"


def score(folder: Path) -> float:
    """Return the accuracy of `folder`'s iris.onnx on its held-out data."""
    with np.load(folder / "iris_test.npz") as data:
        session = onnxruntime.InferenceSession(folder / "iris.onnx", providers=["CPUExecutionProvider"])
        labels, _ = session.run(None, {session.get_inputs()[0].name: data["x"]})
        return float(np.mean(labels == data["labels"]))


def main() -> None:
    """Train, write iris.onnx and iris_test.npz, and print the held-out accuracy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=STARTER, help="folder for the two files")
    out: Path = parser.parse_args().out
    x, y = load_iris(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        x.astype(np.float32), y, test_size=0.4, random_state=0, stratify=y
    )
    model = make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=2000, random_state=0)).fit(train_x, train_y)
    classifier = to_onnx(model, train_x[:1], target_opset=18, options={"zipmap": False})
    (out / "iris.onnx").write_bytes(classifier.SerializeToString())
    write_arrays(out / "iris_test.npz", x=test_x, labels=test_y)
    print(f"accuracy {score(out):.4f}")


if __name__ == "__main__":
    main()
