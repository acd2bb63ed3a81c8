"""Whether measures keep an elementwise limit on all elements; values only, no numpy."""

from __future__ import annotations

from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.recipe.types import OutputTolerance

DEFAULT_STEP = OutputTolerance(atol=1e-5, rtol=1e-3)
"""What a graph pass may change where the recipe names no tolerance for an output."""


def exceeds(measures: OutputMeasures, limit: OutputTolerance) -> bool:
    """Tell whether any element is beyond |x - r| <= atol + rtol |r|; integers and strings must be equal.

    A NaN beside a number, or an infinity beside anything else, is beyond every limit.
    """
    if measures.max_abs is None:
        return measures.unequal > 0
    if isinstance(measures.max_abs, str):
        return True
    atol, rtol = limit.atol or 0.0, limit.rtol or 0.0
    return any(difference > atol + rtol * size for difference, size in measures.frontier)
