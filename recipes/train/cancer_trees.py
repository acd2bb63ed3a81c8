"""Trains XGBoost on scikit-learn's breast cancer data and writes the trees in XGBoost's own JSON."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from shared import output_folder, write_arrays
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from split import SEED
from xgboost import XGBClassifier


def score(folder: Path) -> float:
    """Return the area under the ROC curve of the model on the test data in `folder`."""
    model = XGBClassifier()
    model.load_model(folder / "models/cancer_trees.json")
    data = np.load(folder / "data/cancer_test.npz")
    return float(roc_auc_score(data["labels"], model.predict_proba(data["features"])[:, 1]))


def main(out: Path) -> None:
    """Train, write model and data, print the test score."""
    features, labels = load_breast_cancer(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(
        features.astype(np.float32), labels.astype(np.int64), test_size=0.3, random_state=SEED, stratify=labels
    )
    write_arrays(out / "data/cancer_test.npz", features=test, labels=test_labels)
    model = XGBClassifier(n_estimators=60, max_depth=3, learning_rate=0.2, random_state=SEED, n_jobs=1)
    model.fit(train, train_labels)
    model.save_model(out / "models/cancer_trees.json")
    print(f"cancer-trees: test ROC AUC {score(out):.4f}")


if __name__ == "__main__":
    main(output_folder(__doc__ or ""))
