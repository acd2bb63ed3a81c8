"""An existing ONNX file as a source: checked before it is read, otherwise untouched; knows no other framework."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import Framework, Output
from onnxbuild.sources.description import DescribedInput, SourceFacts
from onnxbuild.sources.needs import NEEDS
from onnxbuild.sources.source import ExportedModel, SourceRequest

if TYPE_CHECKING:
    from onnxbuild.ort.session import Call


@dataclass(frozen=True)
class OnnxSource:
    """An ONNX file, with its external data, functions, subgraphs and metadata as they are."""

    packages: tuple[str, ...] = NEEDS[Framework.ONNX].packages
    preload: tuple[str, ...] = NEEDS[Framework.ONNX].preload
    extra: str = NEEDS[Framework.ONNX].extra

    def export(self, request: SourceRequest, opset: int | None, folder: Path) -> ExportedModel:
        """Return the file itself after the pre-flight; every name is the source's own. Raises StageFailure."""
        return ExportedModel(_look(request))

    def describe(self, request: SourceRequest) -> SourceFacts:
        """Describe the file after the pre-flight; raises StageFailure."""
        from onnxbuild.ir.describe import describe
        from onnxbuild.ir.preflight import external_files, preflight

        path = request.files["path"]
        data = external_files(preflight(path), path.parent)
        facts = describe(path)
        any_rank = "the file declares no rank: write the shape you serve, such as `shape: [batch, 10]`"
        return SourceFacts(
            framework=Framework.ONNX,
            inputs=tuple(
                DescribedInput(
                    name=value.name, dtype=value.dtype, shape=value.shape, note=any_rank if value.shape is None else ""
                )
                for value in facts.inputs
            ),
            outputs=tuple(Output(name=value.name) for value in facts.outputs),
            opset=facts.opsets.get(""),
            files=tuple(file.relative_to(path.parent).as_posix() for file in data),
        )

    def reference(self, request: SourceRequest, calls: Iterable[Call]) -> Iterator[dict[str, np.ndarray]]:
        """Yield what ONNX Runtime computes on the CPU from the untouched file, unoptimised; raises StageFailure."""
        from onnxbuild.ort.session import UNOPTIMIZED, open_session, run_call

        session = open_session(_look(request), UNOPTIMIZED)
        for value in session.get_outputs():
            if not value.type.startswith("tensor("):
                raise StageFailure("source-outputs", f"output '{value.name}' is {value.type}, not a tensor")
        inputs = match_names([v.name for v in session.get_inputs()], [v.name for v in request.inputs], "inputs")
        outputs = match_names([v.name for v in session.get_outputs()], [v.name for v in request.outputs], "outputs")
        for call in calls:
            values = run_call(session, {theirs: call[ours] for theirs, ours in inputs.items()})
            yield {ours: values[theirs] for theirs, ours in outputs.items()}


def _look(request: SourceRequest) -> Path:
    """Return the file after the pre-flight, and tell which files hold its external data."""
    from onnxbuild.ir.preflight import check_runs, external_files, preflight

    path = request.files["path"]
    model = preflight(path)
    check_runs(model)
    for file in external_files(model, path.parent):
        request.saw(file)
    return path


def match_names(delivered: list[str], declared: list[str], what: str) -> dict[str, str]:
    """Return the recipe's name for each delivered one: by name where all match, else by order.

    The mapping is in the recipe's order. Raises StageFailure (`source-inputs`, `source-outputs`) when the numbers
    differ.
    """
    if len(delivered) != len(declared):
        raise StageFailure(
            f"source-{what}",
            f"the model has {len(delivered)} {what} ({', '.join(delivered)}), the recipe declares {len(declared)}",
            hint=f"declare these {what} in this order, under names of your choice",
        )
    if set(delivered) == set(declared):
        return {name: name for name in declared}
    return dict(zip(delivered, declared, strict=True))


KIND = OnnxSource()
