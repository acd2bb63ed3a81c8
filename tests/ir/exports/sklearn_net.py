"""Exports a small scikit-learn pipeline to the file named first; run in a process of its own."""

import sys
from pathlib import Path

from skl2onnx import to_onnx
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

x, y = load_wine(return_X_y=True)
columns = make_column_transformer((StandardScaler(), [0, 1, 2]), (MinMaxScaler(), [3, 4]))
model = make_pipeline(columns, RandomForestClassifier(4, max_depth=3, random_state=0)).fit(x, y)
proto = to_onnx(model, x[:1].astype("float32"), options={"zipmap": False}, target_opset=20)
Path(sys.argv[1]).write_bytes(proto.SerializeToString())
