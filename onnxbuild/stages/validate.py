"""The validate stage: a model's outputs on the evaluation calls, measured against the reference; decides nothing."""

from __future__ import annotations

import msgspec

from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.recipe.types import Metric, Session


class Within(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of elementwise limits whose share of elements within is to be counted (only for `share` tolerances)."""

    output: str
    atol: float
    rtol: float


class ValidateParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of validate. Inputs: `model`, `calls`, `reference`, `labels` (with a metric); file `metric` if custom."""

    provider: str
    session: Session
    metric: Metric | None
    output: str | None
    axis: int
    average: str | None
    k: int
    within: tuple[Within, ...] = ()


class MetricMeasure(msgspec.Struct, frozen=True, kw_only=True):
    """The task metric of the model and of the source, on the same samples; None where it could not be computed (NaN)."""

    name: str
    model: float | None
    source: float | None
    higher_is_better: bool


class ValidateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; no artifact. `outputs` in the recipe's order."""

    calls: int
    samples: int
    outputs: tuple[OutputMeasures, ...]
    metric: MetricMeasure | None = None
