"""The one table of source frameworks; knows none of them beyond the name of its module."""

from __future__ import annotations

from importlib.util import find_spec

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import Framework
from onnxbuild.sources import (
    keras_source,
    onnx_source,
    sklearn_source,
    tensorflow_source,
    tflite_source,
    torch_source,
)
from onnxbuild.sources.source import SourceKind

SOURCES: dict[Framework, SourceKind] = {
    Framework.TORCH: torch_source.KIND,
    Framework.TENSORFLOW: tensorflow_source.KIND,
    Framework.KERAS: keras_source.KIND,
    Framework.TFLITE: tflite_source.KIND,
    Framework.SKLEARN: sklearn_source.KIND,
    Framework.ONNX: onnx_source.KIND,
}


def source_kind(framework: Framework) -> SourceKind:
    """Return the kind of a framework that is installed; raises StageFailure (`missing-extra`) with the pip command."""
    kind = SOURCES[framework]
    absent = [module for module in kind.preload if find_spec(module.partition(".")[0]) is None]
    if absent:
        raise StageFailure(
            "missing-extra",
            f"{framework.value} models need {', '.join(absent)}, which this environment lacks",
            hint=f"pip install 'onnxbuild[{kind.extra}]'",
        )
    return kind
