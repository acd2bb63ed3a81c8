"""Whether measures keep an elementwise limit on all elements, and what a step may change; values only, no numpy."""

from __future__ import annotations

from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.recipe.types import OutputTolerance

DEFAULT_STEP = OutputTolerance(atol=1e-5, rtol=1e-3)
"""What a graph pass may change of a float32 output for which the recipe names no tolerance."""

DOUBLE_STEP = OutputTolerance(atol=1e-10, rtol=1e-8)
"""The same of a model that computes in float64 throughout."""

PRECISIONS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""The float dtypes by falling precision, with their epsilon: the step from 1 to the next number."""

EPSILONS = 8
"""So many epsilons of a half-precision dtype a pass may always move a value: reordering a short sum does."""


def coarsest(dtypes: set[str]) -> str | None:
    """Return the float dtype of least precision among numpy's names; None without any that PRECISIONS has."""
    return max(dtypes & PRECISIONS.keys(), key=lambda dtype: PRECISIONS[dtype], default=None)


def step_limit(named: OutputTolerance | None, dtype: str, precision: str | None) -> OutputTolerance | None:
    """Return what a graph pass may change of an output of `dtype`; None for integers and strings: nothing.

    `named` is a tenth of what the recipe tolerates, None where it names nothing. `precision` is the coarsest float
    dtype in the graph: an output is no more exact than what it was computed from.
    """
    if dtype not in PRECISIONS:
        return None
    least = coarsest({dtype, precision or dtype}) or dtype
    limit = named if named is not None else DOUBLE_STEP if least == "float64" else DEFAULT_STEP
    if least in ("float16", "bfloat16"):
        floor = EPSILONS * PRECISIONS[least]
        limit = OutputTolerance(atol=max(limit.atol or 0.0, floor), rtol=max(limit.rtol or 0.0, floor))
    return limit


def exceeds(measures: OutputMeasures, limit: OutputTolerance | None) -> bool:
    """Tell whether any element is beyond |x - r| <= atol + rtol |r|; integers, strings and without a limit: unequal.

    A NaN beside a number, or an infinity beside anything else, is beyond every limit.
    """
    if measures.max_abs is None or limit is None:
        return measures.unequal > 0
    if isinstance(measures.max_abs, str):
        return True
    atol, rtol = limit.atol or 0.0, limit.rtol or 0.0
    return any(difference > atol + rtol * size for difference, size in measures.frontier)
