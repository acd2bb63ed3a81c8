"""How long a call takes in each of several models, measured in turn so that a slow moment meets them all alike."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ort.facts import simulator_of
from onnxbuild.ort.providers import Absent, Opened, open_on
from onnxbuild.ort.session import Call, run_call
from onnxbuild.recipe.types import Session

WARM_UP = 3
LEAST, MOST = 15, 400
"""Samples of each model: at least, and at most."""
SECONDS = 1.0
"""Of measuring for each model, after which no more samples are taken than the least."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds a call: quartiles of so many samples."""

    median: float
    lower: float
    upper: float
    samples: int


def measure_latency(
    models: Mapping[str, Path], calls: Sequence[Call], session: Session, provider: str, options: Mapping[str, str]
) -> dict[str, Latency]:
    """Return the latency of each model file by its name, on one provider, over `calls` one at a time.

    Threads do not spin: what one model's leave behind must not slow the next. Raises StageFailure, also (`no-device`)
    when there is no such provider here.
    """
    opened = {name: _open(file, session, provider, options) for name, file in models.items()}
    for running in opened.values():
        for number in range(WARM_UP):
            run_call(running, calls[number % len(calls)])
    samples: dict[str, list[float]] = {name: [] for name in opened}
    names = list(opened)
    end = time.perf_counter() + SECONDS * len(names)
    for number in range(MOST):
        if number >= LEAST and time.perf_counter() > end:
            break
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            before = time.perf_counter()
            run_call(opened[name], calls[number % len(calls)])
            samples[name].append((time.perf_counter() - before) * 1000)
    return {name: _quartiles(taken) for name, taken in samples.items()}


def _open(file: Path, session: Session, provider: str, options: Mapping[str, str]) -> Any:
    opened = open_on(file, provider, options, session)
    simulator = simulator_of(opened.devices) if isinstance(opened, Opened) else None
    if isinstance(opened, Absent) or simulator is not None:
        why = opened.why if isinstance(opened, Absent) else f"there is only {simulator}"
        message = f"latency on {provider} cannot be measured, for there is none here: {why}"
        raise StageFailure("no-device", message, hint="choose by the latency of another provider, or by size")
    return opened.session


def _quartiles(samples: Sequence[float]) -> Latency:
    lower, median, upper = (float(value) for value in np.percentile(samples, (25, 50, 75)))
    return Latency(median, lower, upper, len(samples))
