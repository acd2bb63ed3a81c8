"""Trains LightGBM on scikit-learn's diabetes data behind a scaler and pickles the pipeline with joblib."""

from __future__ import annotations

import hashlib
from pathlib import Path

import joblib
import pandas as pd
from lightgbm import LGBMRegressor
from shared import output_folder
from sklearn.datasets import load_diabetes
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from split import SEED

COLUMNS = ["age", "bmi", "pressure", "s1", "s2", "s3", "s4", "s5", "s6"]
LABEL = "target"


def table() -> pd.DataFrame:
    """Return scikit-learn's diabetes data in the units of the ward, without the patient's sex."""
    frame = load_diabetes(as_frame=True, scaled=False).frame
    frame = frame.drop(columns="sex").rename(columns={"bp": "pressure"})
    return frame.astype("float32")


def score(folder: Path) -> float:
    """Return the root mean squared error of the model on the test table in `folder`."""
    model = joblib.load(folder / "models/diabetes_trees.joblib")
    test = pd.read_parquet(folder / "data/diabetes_test.parquet")
    return float(root_mean_squared_error(test[LABEL], model.predict(test[COLUMNS])))


def main(out: Path) -> None:
    """Train, write model and data, print the test score and the digest that the recipe pins."""
    train, test = train_test_split(table(), test_size=0.3, random_state=SEED)
    test.to_parquet(out / "data/diabetes_test.parquet", index=False)
    trees = LGBMRegressor(
        n_estimators=80, num_leaves=8, learning_rate=0.05, random_state=SEED, n_jobs=1, deterministic=True, verbose=-1
    )
    model = make_pipeline(StandardScaler(), trees).set_output(transform="pandas")
    model.fit(train[COLUMNS], train[LABEL])
    file = out / "models/diabetes_trees.joblib"
    joblib.dump(model, file, compress=3)
    print(f"diabetes-trees: test RMSE {score(out):.3f}")
    print(f"source.sha256: {hashlib.sha256(file.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main(output_folder(__doc__ or ""))
