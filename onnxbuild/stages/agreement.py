"""Whether a step left a model's outputs as they were, call by call in unoptimised sessions; knows no steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ort.session import UNOPTIMIZED, open_session, run_call
from onnxbuild.proof.compare import Comparison
from onnxbuild.proof.limits import exceeds, step_limit
from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.recipe.types import OutputTolerance
from onnxbuild.stages.reverts import CHANGED_RESULTS, Breakage, Sizes

Call = Mapping[str, np.ndarray]
Outputs = dict[str, np.ndarray]


class Disagreement(Exception):  # a finding, not an error
    """Outputs differ beyond the limits."""

    def __init__(self, broke: Breakage) -> None:
        super().__init__(broke.message)
        self.broke = broke


def run_sound(model: Path, calls: Sequence[Call]) -> list[Outputs | None]:
    """Return the outputs of each call; None for one that the model itself refuses.

    Raises StageFailure (`probe-does-not-run`) when it refuses all.
    """
    session = open_session(model, UNOPTIMIZED)
    found: list[Outputs | None] = []
    reason = ""
    for call in calls:
        try:
            found.append(run_call(session, call))
        except StageFailure as failure:
            reason = failure.message
            found.append(None)
    if calls and all(outputs is None for outputs in found):
        raise StageFailure("probe-does-not-run", f"before the pass the model does not run on the probe data: {reason}")
    return found


def measure_agreement(
    expected: Sequence[Outputs],
    model: Path,
    calls: Sequence[Call],
    sizes: Sequence[Sizes],
    named: Mapping[str, OutputTolerance],
    precision: str | None,
) -> tuple[OutputMeasures, ...]:
    """Return how far the outputs of `model` on `calls` are from `expected`.

    Every element of a float output must keep |x - r| <= atol + rtol |r|; NaN agrees with NaN, integers and strings
    must be equal. Raises Disagreement with the sizes of the first call beyond that, StageFailure when it does not run.
    """
    session = open_session(model, UNOPTIMIZED)
    delivered = [run_call(session, call) for call in calls]
    found = []
    for name in expected[0] if expected else ():
        pairs = [(reference[name], outputs[name]) for reference, outputs in zip(expected, delivered, strict=True)]
        found.append(_measure(name, pairs, sizes))
    for measures in found:
        limit = step_limit(named.get(measures.name), measures.dtype, precision)
        if exceeds(measures, limit):
            pairs = [(r[measures.name], d[measures.name]) for r, d in zip(expected, delivered, strict=True)]
            first = next(
                size
                for pair, size in zip(pairs, sizes, strict=True)
                if exceeds(_measure(measures.name, [pair], [size]), limit)
            )
            said = f"output '{measures.name}' {_describe(measures, limit)} on the probe data{_at(first)}"
            raise Disagreement(Breakage(code=CHANGED_RESULTS, message=said, sizes=first, measures=tuple(found)))
    return tuple(found)


def _measure(name: str, pairs: Sequence[tuple[np.ndarray, np.ndarray]], sizes: Sequence[Sizes]) -> OutputMeasures:
    comparison = Comparison(name)
    for (reference, delivered), size in zip(pairs, sizes, strict=True):
        try:
            comparison.add(reference, delivered, reference.shape[0] if np.ndim(reference) else 1)
        except StageFailure as failure:
            message = failure.message + _at(size)
            raise Disagreement(Breakage(code=CHANGED_RESULTS, message=message, sizes=size)) from None
    return comparison.result()


def _describe(measures: OutputMeasures, limit: OutputTolerance | None) -> str:
    count = f"differs in {measures.unequal} of {measures.elements} elements"
    if measures.max_abs is None or limit is None:
        return count
    far = measures.max_abs if isinstance(measures.max_abs, str) else f"{measures.max_abs:.3g}"
    return f"{count}, by up to {far} where {limit.atol or 0.0:.3g} + {limit.rtol or 0.0:.3g} |r| is allowed,"


def _at(sizes: Sizes | None) -> str:
    return f" (first at {', '.join(f'{axis} {size}' for axis, size in sizes.items())})" if sizes else ""
