"""Whether a step left a model's outputs as they were, on probe calls in unoptimised sessions; knows no steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ort.session import UNOPTIMIZED, open_session, run_call
from onnxbuild.recipe.types import OutputTolerance

DEFAULT = OutputTolerance(atol=1e-5, rtol=1e-3)
Call = Mapping[str, np.ndarray]


def require_agreement(
    before: Path, after: Path, calls: Iterable[Call], limits: Mapping[str, OutputTolerance], tool: str
) -> dict[str, float]:
    """Run both model files on `calls` and return the largest absolute difference of each output.

    Every element of a float output must keep |x - r| <= atol + rtol |r| (a share of them, where the limit has one);
    NaN agrees with NaN, integers and strings must be equal. Raises StageFailure (`pass-changed-results`) naming
    `tool`, the output and how far it is off.
    """
    one, other = open_session(before, UNOPTIMIZED), open_session(after, UNOPTIMIZED)
    worst: dict[str, float] = {}
    for number, call in enumerate(calls):
        reference, delivered = run_call(one, call), run_call(other, call)
        for name, expected in reference.items():
            limit = limits.get(name, DEFAULT)
            difference, problem = _compare(np.asarray(expected), np.asarray(delivered[name]), limit)
            if problem is not None:
                raise StageFailure(
                    "pass-changed-results",
                    f"{tool} changed the model: output '{name}' {problem} on probe call {number + 1}",
                    hint="leave this pass out, or report the model to the tool's authors",
                    tool=tool,
                )
            worst[name] = max(worst.get(name, 0.0), difference)
    return worst


def _compare(expected: np.ndarray, delivered: np.ndarray, limit: OutputTolerance) -> tuple[float, str | None]:
    """Return the largest finite absolute difference and, when the limit is not kept, what is wrong."""
    if expected.shape != delivered.shape:
        return 0.0, f"has shape {list(delivered.shape)} instead of {list(expected.shape)}"
    if expected.dtype != delivered.dtype:
        return 0.0, f"has dtype {delivered.dtype} instead of {expected.dtype}"
    if expected.dtype.kind in "OUSbiu":
        wrong = int(np.count_nonzero(expected != delivered))
        return 0.0, f"differs in {wrong} of {expected.size} elements" if wrong else None
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    reference, value = expected.astype(wide), delivered.astype(wide)
    atol, rtol = limit.atol or 0.0, limit.rtol or 0.0
    if limit.atol is None and limit.rtol is None:
        atol, rtol = DEFAULT.atol or 0.0, DEFAULT.rtol or 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(value - reference)
        agrees = difference <= atol + rtol * np.abs(reference)
    agrees &= np.isfinite(reference)  # beside an infinite reference every finite value would be within rtol
    agrees |= (value == reference) | (np.isnan(value) & np.isnan(reference))
    finite = difference[np.isfinite(difference)]
    largest = float(finite.max()) if finite.size else 0.0
    wrong = int(np.count_nonzero(~agrees))
    if wrong <= (1.0 - limit.share) * expected.size:
        return largest, None
    odd = "" if np.isfinite(difference).all() else ", some of them NaN or infinite"
    return largest, (
        f"is off by up to {largest:.3g} where {atol:.3g} + {rtol:.3g} |r| is allowed "
        f"({wrong} of {expected.size} elements{odd})"
    )
