"""scikit-learn as a source, with XGBoost's and LightGBM's estimators: export by skl2onnx, outputs by method."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.user_code import user_frames
from onnxbuild.recipe.types import Framework, Input
from onnxbuild.sources.description import SourceFacts
from onnxbuild.sources.needs import NEEDS
from onnxbuild.sources.quiet import quiet
from onnxbuild.sources.sklearn_columns import check_columns, table_of
from onnxbuild.sources.sklearn_model import Estimator, chosen_methods, load_estimator
from onnxbuild.sources.source import ExportedModel, SourceRequest

if TYPE_CHECKING:
    from onnxbuild.ort.session import Call

HIGHEST_OPSET = 22
"""skl2onnx takes any number; its operators are those of this opset at most."""
ML_OPSET = 3
TYPES = {
    "float32": "FloatTensorType",
    "float64": "DoubleTensorType",
    "int64": "Int64TensorType",
    "int32": "Int32TensorType",
    "bool": "BooleanTensorType",
    "string": "StringTensorType",
}


@dataclass(frozen=True)
class SklearnSource:
    """scikit-learn: a factory, a .skops file, or a trusted pickle."""

    packages: tuple[str, ...] = NEEDS[Framework.SKLEARN].packages
    preload: tuple[str, ...] = NEEDS[Framework.SKLEARN].preload
    extra: str = NEEDS[Framework.SKLEARN].extra

    def export(self, request: SourceRequest, opset: int | None, folder: Path) -> ExportedModel:
        """Convert with skl2onnx, without ZipMap, keeping the outputs that the recipe names; raises StageFailure."""
        estimator = load_estimator(request)
        methods = chosen_methods(estimator, request.outputs)
        columns = check_columns(request.inputs, estimator.model)
        _warn_of_sparse(estimator, request)
        _register_boosters()
        proto = _convert(estimator, columns, min(opset or HIGHEST_OPSET, HIGHEST_OPSET), request)
        path = folder / "exported.onnx"
        order = {output.name: estimator.methods.index(m) for output, m in zip(request.outputs, methods, strict=True)}
        _select_outputs(proto, order, str(columns[0].shape[0]), path)
        return ExportedModel(path)

    def describe(self, request: SourceRequest) -> SourceFacts:
        """Describe the estimator in a saved file; raises StageFailure."""
        from onnxbuild.sources.sklearn_description import describe_estimator

        return describe_estimator(load_estimator(request))

    def reference(self, request: SourceRequest, calls: Iterable[Call]) -> Iterator[dict[str, np.ndarray]]:
        """Yield the methods' outputs in the shapes and dtypes that ONNX has; raises StageFailure.

        Labels are int64 or strings; what ONNX gives as one column ([batch, 1]: regression, outliers) is reshaped
        from scikit-learn's flat array; sparse matrices become dense.
        """
        estimator = load_estimator(request)
        methods = chosen_methods(estimator, request.outputs)
        columns = check_columns(request.inputs, estimator.model)
        text = _takes_texts(estimator.model)
        for index, call in enumerate(calls):
            table = table_of(call, columns, estimator.model, text=text)
            values = {}
            with quiet("scikit-learn", (), request.warn), user_frames(f"call {index}"):
                for method in dict.fromkeys(methods):
                    values[method] = getattr(estimator.model, method)(table)
            yield {
                output.name: _as_onnx(values[method], flat=method in estimator.flat)
                for output, method in zip(request.outputs, methods, strict=True)
            }


def _convert(estimator: Estimator, columns: tuple[Input, ...], opset: int, request: SourceRequest) -> Any:
    from skl2onnx import convert_sklearn

    types = [(value.name, _type(value)) for value in columns]
    model = _joining_columns(estimator.model, columns) if len(columns) > 1 else estimator.model
    target = {"": opset, "ai.onnx.ml": ML_OPSET}

    def convert(options: dict[int, dict[str, bool]] | None) -> Any:
        return convert_sklearn(model, initial_types=types, target_opset=target, options=options)

    try:
        with quiet("skl2onnx", ("skl2onnx", "onnxmltools"), request.warn):
            try:
                return convert({id(estimator.final): {"zipmap": False}})
            except NameError:  # skl2onnx's word for an estimator that has no such option, and needs none
                return convert(None)
    except Exception as error:  # skl2onnx and onnxmltools raise many unrelated types
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise StageFailure(
            "export-failed",
            f"skl2onnx cannot convert the {type(estimator.final).__name__}: {reason}",
            hint="see skl2onnx's list of supported estimators; a ColumnTransformer selects columns by name or position",
            tool="skl2onnx",
        ) from None


def _type(value: Input) -> Any:
    from skl2onnx.common import data_types

    if value.dtype not in TYPES:
        raise StageFailure(
            "source-inputs",
            f"input {value.name} is declared {value.dtype}; a scikit-learn source takes {', '.join(TYPES)}",
        )
    return getattr(data_types, TYPES[value.dtype])([None, value.shape[1]])


def _first_step(model: Any) -> Any:
    from sklearn.pipeline import Pipeline

    while isinstance(model, Pipeline):
        model = model.steps[0][1]
    return model


def _takes_texts(model: Any) -> bool:
    from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer

    return isinstance(_first_step(model), CountVectorizer | HashingVectorizer)


def _joining_columns(model: Any, columns: tuple[Input, ...]) -> Any:
    """Return the model behind a step that joins the columns to a matrix, where its first step does not select them."""
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import FeatureUnion, Pipeline

    if isinstance(_first_step(model), ColumnTransformer | FeatureUnion):
        return model
    if texts := [value.name for value in columns if value.dtype == "string"]:
        raise StageFailure(
            "source-inputs",
            f"the columns {', '.join(texts)} are texts, and the estimator joins its columns to a matrix of numbers",
            hint="encode them in a pipeline whose first step is a ColumnTransformer",
        )
    names = [value.name for value in columns]
    frame = pd.DataFrame({value.name: np.zeros(2, dtype=value.dtype) for value in columns})
    join = ColumnTransformer([("columns", "passthrough", names)]).fit(frame)
    return Pipeline([("join", join), ("model", model)])


def _register_boosters() -> None:
    """Tell skl2onnx of the converters that onnxmltools has for the boosters which the model brought along."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes as classifier_shapes,
    )
    from skl2onnx.common.shape_calculator import (
        calculate_linear_regressor_output_shapes as regressor_shapes,
    )

    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    if "lightgbm" in sys.modules:
        from lightgbm import LGBMClassifier, LGBMRegressor
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm as trees

        update_registered_converter(LGBMClassifier, "LightGbmLGBMClassifier", classifier_shapes, trees, options=options)
        update_registered_converter(
            LGBMRegressor, "LightGbmLGBMRegressor", regressor_shapes, trees, options={"split": None}
        )
    if "xgboost" in sys.modules:
        from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost as trees
        from xgboost import XGBClassifier, XGBRegressor

        update_registered_converter(XGBClassifier, "XGBoostXGBClassifier", classifier_shapes, trees, options=options)
        update_registered_converter(XGBRegressor, "XGBoostXGBRegressor", regressor_shapes, trees)


def _warn_of_sparse(estimator: Estimator, request: SourceRequest) -> None:
    """Warn where XGBoost gets a sparse matrix: it reads the zeros there as missing, which ONNX cannot tell apart."""
    from sklearn.pipeline import Pipeline

    model = estimator.model
    if type(estimator.final).__module__.partition(".")[0] != "xgboost" or not isinstance(model, Pipeline):
        return
    for _, step in model.steps[:-1]:
        if getattr(step, "sparse_output_", False) or getattr(step, "sparse_output", False) is True:
            request.warn(
                "sparse-zeros",
                f"{type(step).__name__} hands XGBoost a sparse matrix, whose zeros XGBoost takes for missing values; "
                "the ONNX model does not: set sparse_output=False or sparse_threshold=0 and fit again",
            )


def _select_outputs(proto: Any, order: dict[str, int], rows: str, path: Path) -> None:
    """Write the model with just these outputs, in this order, and without what computed only the others.

    `order` maps the recipe's name to the converter's output; `rows` is the axis that all inputs and outputs share,
    which shape inference does not follow through trees. Outputs are named by place, for the converter's own
    names could match the recipe's by chance.
    """
    import onnx_ir as ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    model = ir.from_proto(proto)
    delivered = list(model.graph.outputs)
    odd = [value.name or "" for value in delivered if not isinstance(value.type, ir.TensorType)]
    if odd or max(order.values()) >= len(delivered):
        raise StageFailure(
            "export-failed",
            f"skl2onnx delivers {len(delivered)} outputs where {len(order)} are wanted, {len(odd)} of them no tensors",
            tool="skl2onnx",
        )
    model.graph.outputs[:] = [delivered[index] for index in order.values()]
    for position, (value, name) in enumerate(zip(model.graph.outputs, order, strict=True)):
        value.name = f"{position}:{name}"
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.shape is not None and len(value.shape):
            value.shape = ir.Shape([rows, *value.shape[1:]])
    RemoveUnusedNodesPass()(model)
    ir.save(model, path)


def _as_onnx(value: Any, *, flat: bool) -> np.ndarray:
    array = np.asarray(value.toarray() if hasattr(value, "toarray") else value)
    if array.dtype.kind in "OUS":
        array = array.astype(str).astype(object)
    elif array.dtype.kind in "iub" or (flat and bool(np.all(array == np.trunc(array)))):
        array = array.astype(np.int64)  # labels: ONNX has int64 alone
    return array if flat or array.ndim != 1 else array.reshape(-1, 1)


KIND = SklearnSource()
