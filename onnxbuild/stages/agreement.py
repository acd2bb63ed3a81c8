"""Whether a step left a model's outputs as they were, on probe calls in unoptimised sessions; knows no steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ort.session import UNOPTIMIZED, open_session, run_call
from onnxbuild.proof.compare import Comparison
from onnxbuild.proof.limits import DEFAULT_STEP, exceeds
from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.recipe.types import OutputTolerance

Call = Mapping[str, np.ndarray]


def require_agreement(
    before: Path, after: Path, calls: Iterable[Call], limits: Mapping[str, OutputTolerance], tool: str
) -> dict[str, OutputMeasures]:
    """Run both model files on `calls` and return how far each output of the second is from the first's.

    Every element of a float output must keep |x - r| <= atol + rtol |r|; NaN agrees with NaN, integers and strings
    must be equal. Raises StageFailure (`pass-changed-results`) naming `tool`, the output and how far it is off.
    """
    calls = list(calls)
    comparisons: dict[str, Comparison] = {}
    # One session at a time: of a large model each may hold all weights, where the outputs of a few calls are small.
    for expected, delivered in zip(_run(before, calls), _run(after, calls), strict=True):
        for name, reference in expected.items():
            rows = reference.shape[0] if np.ndim(reference) else 1
            try:
                comparisons.setdefault(name, Comparison(name)).add(reference, delivered[name], rows)
            except StageFailure as failure:
                raise _changed(tool, failure.message) from None
    found = {name: comparison.result() for name, comparison in comparisons.items()}
    for name, measures in found.items():
        limit = limits.get(name, DEFAULT_STEP)
        if exceeds(measures, limit):
            raise _changed(tool, f"output '{name}' {_describe(measures, limit)} on the probe data")
    return found


def _run(model: Path, calls: Sequence[Call]) -> list[dict[str, np.ndarray]]:
    session = open_session(model, UNOPTIMIZED)
    return [run_call(session, call) for call in calls]


def _describe(measures: OutputMeasures, limit: OutputTolerance) -> str:
    count = f"differs in {measures.unequal} of {measures.elements} elements"
    if measures.max_abs is None:
        return count
    far = measures.max_abs if isinstance(measures.max_abs, str) else f"{measures.max_abs:.3g}"
    return f"{count}, by up to {far} where {limit.atol or 0.0:.3g} + {limit.rtol or 0.0:.3g} |r| is allowed,"


def _changed(tool: str, what: str) -> StageFailure:
    return StageFailure(
        "pass-changed-results",
        f"{tool} changed what the model computes: {what}",
        hint="leave this pass out, or report the model to the tool's authors",
        tool=tool,
    )
