"""Trains a scikit-learn pipeline on wine in words, whole numbers and measurements with gaps; writes it with skops."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZIP_DEFLATED

import numpy as np
import pandas as pd
import skops.io
from shared import output_folder
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_wine
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from split import SEED

TEXTS, WHOLE, MEASURED = ["colour", "tannin"], ["magnesium", "proline"], ["alcohol", "malic_acid", "ash"]
LABEL = "cultivar"


def table() -> pd.DataFrame:
    """Return scikit-learn's wine as a cellar would note it: words for colour and tannin, gaps in what was measured."""
    generator = np.random.default_rng(SEED)
    wine = load_wine(as_frame=True).frame
    words = pd.DataFrame(
        {
            "colour": pd.cut(wine.color_intensity, [0, 3, 5, 7, 20], labels=["pale", "ruby", "garnet", "deep"]),
            "tannin": pd.cut(wine.flavanoids, [0, 1, 2, 3, 10], labels=["soft", "round", "firm", "harsh"]),
        }
    ).astype(str)
    words.loc[generator.random(len(words)) < 0.05, "tannin"] = "unknown"
    measured = wine[MEASURED].astype(np.float32)
    measured = measured.mask(generator.random(measured.shape) < 0.08)
    whole = wine[WHOLE].round().astype(np.int64)
    return pd.concat([words, whole, measured, wine.target.astype(np.int64).rename(LABEL)], axis=1)


def build() -> Pipeline:
    """Return the untrained pipeline; each kind of column has its own preparation."""
    prepare = ColumnTransformer(
        [
            ("texts", OneHotEncoder(handle_unknown="ignore"), TEXTS),
            ("whole", StandardScaler(), WHOLE),
            ("measured", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), MEASURED),
        ]
    )
    return Pipeline([("prepare", prepare), ("decide", LogisticRegression())])


def score(folder: Path) -> float:
    """Return the macro F1 of the model on the test table in `folder`."""
    file = folder / "models/wine_pipeline.skops"
    model = skops.io.load(file, trusted=["numpy.dtype"])  # the imputer keeps the dtype it was fitted on
    test = pd.read_csv(folder / "data/wine_test.csv")
    return float(f1_score(test[LABEL], model.predict(test.drop(columns=LABEL)), average="macro"))


def main(out: Path) -> None:
    """Train, write model and data, print the test score."""
    wine = table()
    train, test = train_test_split(wine, test_size=0.4, random_state=SEED, stratify=wine[LABEL])
    test.to_csv(out / "data/wine_test.csv", index=False, float_format="%.6g")
    model = build().fit(train.drop(columns=LABEL), train[LABEL])
    skops.io.dump(model, out / "models/wine_pipeline.skops", compression=ZIP_DEFLATED)
    print(f"wine-pipeline: test macro F1 {score(out):.4f}")


if __name__ == "__main__":
    main(output_folder(__doc__ or ""))
