"""Which of several candidates to deliver, by what was measured of each; measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxbuild.proof.ablation import Measured

FLOAT = "none"
"""The candidate that is not quantised: always there."""


@dataclass(frozen=True)
class Option:
    """A candidate that was made: what it came to, and its latency's lower quartile and median in milliseconds."""

    measured: Measured
    lower: float
    median: float


def choose(options: Mapping[str, Option], objective: str) -> str:
    """Return the best of `options` by latency, size or accuracy, of those that meet the tolerance; else FLOAT.

    Float32 is given up only for a gain that is no noise: a median below its lower quartile, or fewer bytes.
    """
    float32 = options[FLOAT]
    able = {name: option for name, option in options.items() if option.measured.meets and name != FLOAT}
    match objective:
        case "latency":
            able = {name: o for name, o in able.items() if o.median < float32.lower}
            return min(able, key=lambda name: (able[name].median, able[name].measured.bytes), default=FLOAT)
        case "size":
            able = {name: o for name, o in able.items() if o.measured.bytes < float32.measured.bytes}
            return min(able, key=lambda name: (able[name].measured.bytes, able[name].median), default=FLOAT)
        case "accuracy":
            able = {name: o for name, o in able.items() if o.measured.order() < float32.measured.order()}
            return min(able, key=lambda name: able[name].measured.order(), default=FLOAT)
        case other:
            raise AssertionError(f"unknown objective {other}")
