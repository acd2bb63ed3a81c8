"""Boosted trees that tell benign from malignant tumours, from XGBoost's own file."""

from pathlib import Path

from xgboost import XGBClassifier


def build() -> XGBClassifier:
    model = XGBClassifier()
    model.load_model(Path(__file__).with_name("cancer_trees.json"))
    return model
