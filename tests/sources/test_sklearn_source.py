"""scikit-learn sources: fitted estimators and pipelines converted and compared with themselves, and what is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import Axis, Framework, Input, Output, Source

pytest.importorskip("sklearn")
pytest.importorskip("skl2onnx")
pytestmark = [
    pytest.mark.sklearn,
    pytest.mark.filterwarnings("ignore:.*:FutureWarning"),  # between scikit-learn, LightGBM and XGBoost
]

MODELS = """
import numpy as np
import pandas as pd
from sklearn.datasets import load_iris

X, y = load_iris(return_X_y=True)
X = X.astype(np.float32)
TEXT = np.array(["setosa", "versi", "virgin"], dtype=object)[y]
FRAME = pd.DataFrame({
    "length": np.where(np.arange(150) % 7 == 0, np.nan, X[:, 0]).astype(np.float32),
    "count": np.arange(150) % 5,
    "colour": pd.Series(np.array(["red", "green", "blue"], dtype=object)[np.arange(150) % 3], dtype=object),
})

def whole_numbers():
    from lightgbm import LGBMClassifier
    frame = FRAME[["count", "length"]]
    return LGBMClassifier(n_estimators=5, verbose=-1).fit(frame, y)

def build(name, target="number", frame=False, **options):
    import importlib
    module, _, kind = name.rpartition(".")
    estimator = getattr(importlib.import_module(module), kind)(**options)
    wanted = {"number": y, "text": TEXT, "binary": (y > 0).astype(int), "bool": y > 0, "float": X[:, 3] * 2,
              "two": np.stack([y, y > 0], 1)}[target]
    data = pd.DataFrame(X[:, :2], columns=["b", "a"]) if frame else X
    return estimator.fit(data, wanted)

def pipeline(name, target="number", **options):
    import importlib
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    module, _, kind = name.rpartition(".")
    final = getattr(importlib.import_module(module), kind)(**options)
    return make_pipeline(StandardScaler(), final).fit(X, TEXT if target == "text" else y)

def mixed(final="logistic", sparse=False):
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    columns = ColumnTransformer([
        ("number", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["length"]),
        ("count", StandardScaler(), ["count"]),
        ("colour", OneHotEncoder(handle_unknown="ignore", sparse_output=sparse), ["colour"]),
    ], sparse_threshold=1.0 if sparse else 0.0)
    if final is None:
        return columns.fit(FRAME)
    if final == "lightgbm":
        from lightgbm import LGBMClassifier
        return make_pipeline(columns, LGBMClassifier(n_estimators=5, verbose=-1)).fit(FRAME, TEXT)
    if final == "xgboost":
        from xgboost import XGBClassifier
        return make_pipeline(columns, XGBClassifier(n_estimators=5)).fit(FRAME, y)
    return make_pipeline(columns, LogisticRegression(max_iter=500)).fit(FRAME, TEXT)

def searched():
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    return GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.1, 1.0]}, cv=2).fit(X, y)

def texts():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    words = ["good fine nice", "bad awful", "nice good", "awful bad bad", "fine", "bad"]
    return make_pipeline(TfidfVectorizer(lowercase=False), LogisticRegression()).fit(words, [1, 0, 1, 0, 1, 0])

def unfitted():
    from sklearn.linear_model import LogisticRegression
    return LogisticRegression()

def booster():
    import lightgbm
    return lightgbm.train({"verbose": -1}, lightgbm.Dataset(X, y), 3)

def broken():
    raise KeyError("no such column")
"""

MATRIX = Input(name="x", dtype="float32", shape=("batch", 4))
COLUMNS = [
    Input(name="colour", dtype="string", shape=("batch", 1)),
    Input(name="length", dtype="float32", shape=("batch", 1)),
    Input(name="count", dtype="int64", shape=("batch", 1)),
]  # not in the order of the frame


@pytest.fixture
def source(factory):
    def make(function, **args):
        return Source(framework=Framework.SKLEARN, factory=factory(MODELS, function, **args))

    return make


def matrix_calls():
    from sklearn.datasets import load_iris

    rows = load_iris(return_X_y=True)[0].astype(np.float32)
    return [{"x": rows}, {"x": rows[:1]}, {"x": rows[::7]}]


def column_calls(rows=30):
    index = np.arange(rows)
    length = np.where(index % 4 == 0, np.nan, 4.5 + index % 9 / 3).astype(np.float32)
    colour = np.array(["red", "green", "blue", "unseen"], dtype=object)[index % 4]
    call = {"colour": colour[:, None], "length": length[:, None], "count": (index % 5)[:, None].astype(np.int64)}
    return [call, {name: array[:1] for name, array in call.items()}]


@pytest.mark.parametrize(
    ("name", "target", "options"),
    [
        ("sklearn.linear_model.LogisticRegression", "text", {"max_iter": 500}),
        ("sklearn.linear_model.LogisticRegression", "bool", {}),
        ("sklearn.ensemble.RandomForestClassifier", "number", {"n_estimators": 5}),
        ("sklearn.ensemble.HistGradientBoostingClassifier", "binary", {"max_iter": 5}),
        ("lightgbm.LGBMClassifier", "number", {"n_estimators": 5, "verbose": -1}),
        ("lightgbm.LGBMClassifier", "binary", {"n_estimators": 5, "verbose": -1}),
        ("xgboost.XGBClassifier", "number", {"n_estimators": 5}),
        ("xgboost.XGBClassifier", "binary", {"n_estimators": 5}),
    ],
)
def test_classifiers(recipe, source, name, target, options):
    pytest.importorskip(name.partition(".")[0])
    made = source("build", name=name, target=target, **options)
    proved = recipe.prove(made, [MATRIX], ["label", "share"], calls=matrix_calls())
    proved.assert_close()
    labels, shares = proved.facts.outputs
    assert (labels.name, labels.dtype, labels.shape) == ("label", "string" if target == "text" else "int64", ("batch",))
    assert (shares.name, shares.dtype, len(shares.shape)) == ("share", "float32", 2)
    assert proved.facts.opsets[""] == 20
    assert "ai.onnx.ml.ZipMap" not in proved.facts.operators


@pytest.mark.parametrize(
    ("name", "target", "outputs", "methods"),
    [
        ("sklearn.linear_model.Ridge", "float", 1, ["predict"]),
        ("lightgbm.LGBMRegressor", "float", 1, ["predict"]),
        ("xgboost.XGBRegressor", "float", 1, ["predict"]),
        ("sklearn.svm.LinearSVC", "number", 2, ["predict", "decision_function"]),
        ("sklearn.preprocessing.StandardScaler", "number", 1, ["transform"]),
        ("sklearn.decomposition.PCA", "number", 1, ["transform"]),
        ("sklearn.ensemble.IsolationForest", "number", 2, ["predict", "decision_function"]),
        ("sklearn.cluster.KMeans", "number", 2, ["predict", "transform"]),
        ("sklearn.mixture.GaussianMixture", "number", 2, ["predict", "predict_proba"]),
    ],
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_other_estimators(recipe, source, name, target, outputs, methods):
    pytest.importorskip(name.partition(".")[0])
    names = [f"out{i}" for i in range(outputs)]
    options = {"KMeans": {"n_clusters": 3, "n_init": 1}, "IsolationForest": {"n_estimators": 3}}
    options = options.get(name.rpartition(".")[2], {"verbose": -1} if "lightgbm" in name else {})
    made = source("build", name=name, target=target, **options)
    by_order = recipe.prove(made, [MATRIX], names, calls=matrix_calls())
    by_order.assert_close(share=0.99)
    backwards = [Output(name=f"its_{m}", method=m) for m in reversed(methods)]
    by_method = recipe.prove(made, [MATRIX], backwards, calls=matrix_calls())
    by_method.assert_close(share=0.99)
    np.testing.assert_array_equal(by_order.got[0]["out0"], by_method.got[0][f"its_{methods[0]}"])


def test_an_output_that_is_not_wanted_costs_nothing(recipe, source):
    made = source("build", name="sklearn.cluster.KMeans", n_clusters=3, n_init=1)
    both = recipe.prove(made, [MATRIX], ["label", "distance"], calls=matrix_calls())
    one = recipe.prove(made, [MATRIX], ["label"], calls=matrix_calls())
    one.assert_close()
    assert one.facts.operators.get("Sqrt", 0) < both.facts.operators["Sqrt"]


@pytest.mark.parametrize("name", ["lightgbm.LGBMClassifier", "xgboost.XGBClassifier"])
def test_boosters_in_pipelines(recipe, source, name):
    pytest.importorskip(name.partition(".")[0])
    options = {"n_estimators": 5} | ({"verbose": -1} if "lightgbm" in name else {})
    made = source("pipeline", name=name, target="text" if "lightgbm" in name else "number", **options)
    recipe.prove(made, [MATRIX], ["label", "share"], calls=matrix_calls()).assert_close(share=0.95)


@pytest.mark.parametrize("final", ["logistic", "lightgbm", "xgboost"])
def test_pipelines_of_mixed_columns_with_missing_values(recipe, source, final):
    proved = recipe.prove(source("mixed", final=final), COLUMNS, ["label", "share"], calls=column_calls())
    proved.assert_close()
    assert [v.name for v in proved.facts.inputs] == ["colour", "length", "count"]
    assert [v.dtype for v in proved.facts.inputs] == ["string", "float32", "int64"]
    assert not [w for w in proved.warnings if "sparse" in w]


def test_a_column_transformer_alone(recipe, source):
    recipe.prove(source("mixed", final=None), COLUMNS, ["features"], calls=column_calls()).assert_close()


def test_xgboost_behind_a_sparse_matrix_is_warned_of(recipe, source):
    proved = recipe.prove(source("mixed", final="xgboost", sparse=True), COLUMNS, ["label"], calls=column_calls())
    assert [w for w in proved.warnings if w.startswith("sparse-zeros: ColumnTransformer")]


def test_columns_of_a_frame_without_a_column_transformer(recipe, source):
    inputs = [Input(name=n, dtype="float32", shape=("batch", 1)) for n in ("a", "b")]
    made = source("build", name="lightgbm.LGBMClassifier", frame=True, n_estimators=5, verbose=-1)
    rows = matrix_calls()[0]["x"]
    calls = [{"a": rows[:, 1:2], "b": rows[:, :1]}]
    recipe.prove(made, inputs, ["label", "share"], calls=calls).assert_close()


def test_whole_numbers_and_floats_are_joined(recipe, source):
    proved = recipe.prove(
        source("whole_numbers"),
        COLUMNS[1:],
        ["label", "share"],
        calls=[{name: array for name, array in call.items() if name != "colour"} for call in column_calls()],
    )
    proved.assert_close()


def test_texts_without_an_encoder_are_refused(recipe, source):
    failure = refused(
        recipe,
        source("build", name="sklearn.linear_model.Ridge", target="float"),
        [Input(name=name, dtype="string", shape=("batch", 1)) for name in "abcd"],
    )
    assert "a, b, c, d are texts" in failure.message


def test_a_search_stands_for_its_best_estimator(recipe, source):
    recipe.prove(source("searched"), [MATRIX], ["label", "share"], calls=matrix_calls()).assert_close()


def test_texts_go_to_a_vectorizer(recipe, source):
    text = Input(name="text", dtype="string", shape=("batch", 1))
    calls = [{"text": np.array([["good nice"], ["awful"], ["fine bad"]], dtype=object)}]
    recipe.prove(source("texts"), [text], ["label", "share"], calls=calls).assert_close()


def saved(recipe, name, dump):
    scope: dict = {}
    exec(MODELS, scope)
    dump(scope["build"]("sklearn.linear_model.LogisticRegression", max_iter=500), recipe.folder / name)


def test_skops_files_of_known_types(recipe):
    import skops.io

    saved(recipe, "m.skops", skops.io.dump)
    made = Source(framework=Framework.SKLEARN, path="m.skops")
    recipe.prove(made, [MATRIX], ["label", "share"], calls=matrix_calls()).assert_close()


def test_skops_files_of_other_types_are_refused_by_name(recipe, tmp_path, monkeypatch):
    import skops.io
    from sklearn.linear_model import LogisticRegression

    (tmp_path / "own_types_for_skops.py").write_text(
        "from sklearn.linear_model import LogisticRegression\nclass Mine(LogisticRegression): pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import own_types_for_skops

    assert issubclass(own_types_for_skops.Mine, LogisticRegression)
    skops.io.dump(own_types_for_skops.Mine().fit(np.eye(4), [0, 0, 1, 1]), recipe.folder / "m.skops")
    failure = refused(recipe, Source(framework=Framework.SKLEARN, path="m.skops"))
    assert failure.code == "untrusted-types"
    assert "own_types_for_skops.Mine" in failure.message
    del sys.modules["own_types_for_skops"]


def test_pickles_need_trust(recipe):
    import joblib

    saved(recipe, "m.joblib", joblib.dump)
    trusted = Source(framework=Framework.SKLEARN, path="m.joblib", trust_pickle=True)
    recipe.prove(trusted, [MATRIX], ["label", "share"], calls=matrix_calls()).assert_close()
    assert refused(recipe, Source(framework=Framework.SKLEARN, path="m.joblib")).code == "untrusted-pickle"


def test_a_file_that_is_no_model(recipe):
    (recipe.folder / "m.skops").write_bytes(b"nothing")
    assert refused(recipe, Source(framework=Framework.SKLEARN, path="m.skops")).code == "source-does-not-load"


def refused(recipe, source, inputs=(MATRIX,), outputs=("label",)):
    with pytest.raises(StageFailure) as failure:
        recipe.export(source, list(inputs), list(outputs))
    return failure.value


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("unfitted", "is not fitted"),
        ("booster", "Booster, not a scikit-learn estimator"),
        ("broken", "no such column"),
    ],
)
def test_what_is_no_fitted_estimator_is_refused(recipe, source, function, said):
    assert said in refused(recipe, source(function)).message


def test_several_targets_are_refused(recipe, source):
    made = source("build", name="sklearn.ensemble.RandomForestClassifier", target="two", n_estimators=2)
    assert "several targets" in refused(recipe, made).message


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (["a", "b"], "a Ridge has 1 output (predict), the recipe names 2"),
        ([Output(name="a", method="predict_proba")], "which ONNX does not have for a Ridge"),
    ],
)
def test_outputs_that_the_estimator_does_not_have(recipe, source, outputs, said):
    made = source("build", name="sklearn.linear_model.Ridge", target="float")
    assert said in refused(recipe, made, outputs=outputs).message


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([Input(name="x", dtype="float32", shape=("batch", 3))], "fitted with 4 columns, the recipe declares 3"),
        ([Input(name="x", dtype="float32", shape=("batch",))], "takes rows of columns"),
        ([Input(name="x", dtype="float16", shape=("batch", 4))], "is declared float16"),
        ([MATRIX, Input(name="z", dtype="float32", shape=("batch", 1))], "x is not"),
    ],
)
def test_inputs_that_do_not_fit(recipe, source, inputs, said):
    made = source("build", name="sklearn.linear_model.Ridge", target="float")
    failure = refused(recipe, made, inputs)
    assert failure.code == "source-inputs"
    assert said in failure.message


def test_columns_under_other_names_are_refused(recipe, source):
    renamed = [*COLUMNS[:2], Input(name="number", dtype="int64", shape=("batch", 1))]
    failure = refused(recipe, source("mixed"), renamed)
    assert "it lacks count; no column is called number" in failure.message


def test_an_estimator_without_a_converter_is_named(recipe, source):
    made = source("build", name="sklearn.kernel_ridge.KernelRidge", target="float")
    failure = refused(recipe, made)
    assert failure.code == "export-failed"
    assert "KernelRidge" in failure.message


def test_axes_are_declared(recipe, source):
    made = source("build", name="sklearn.linear_model.Ridge", target="float")
    proved = recipe.prove(made, [Input(name="x", dtype="float64", shape=("rows", 4))], ["y"], {"rows": Axis(max=9)})
    proved.assert_close()
    assert proved.facts.outputs[0].shape == ("rows", 1)
