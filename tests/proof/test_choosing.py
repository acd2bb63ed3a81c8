"""Which candidate wins: by objective, within the tolerance, and float32 where a gain is no more than noise."""

from __future__ import annotations

import pytest

from onnxbuild.proof.ablation import Measured
from onnxbuild.proof.choosing import FLOAT, Option, choose


def option(use: float, size: int, lower: float, median: float, *, meets: bool = True) -> Option:
    return Option(Measured(use=use, sqnr_db=40.0, meets=meets, bytes=size), lower, median)


FLOAT32 = option(0.0, 400, 9.0, 10.0)


@pytest.mark.parametrize(("objective", "winner"), [("latency", "static"), ("size", "int4"), ("accuracy", FLOAT)])
def test_the_best_by_objective(objective: str, winner: str) -> None:
    options = {
        FLOAT: FLOAT32,
        "static": option(0.5, 110, 4.0, 5.0),
        "int4": option(0.9, 60, 11.0, 12.0),
        "float16": option(0.1, 200, 8.0, 8.5),
    }
    assert choose(options, objective) == winner


@pytest.mark.parametrize("objective", ["latency", "size", "accuracy"])
def test_what_misses_the_tolerance_never_wins(objective: str) -> None:
    assert choose({FLOAT: FLOAT32, "static": option(0.0, 1, 0.1, 0.1, meets=False)}, objective) == FLOAT


def test_float32_wins_where_a_candidate_is_faster_only_within_the_noise() -> None:
    assert choose({FLOAT: FLOAT32, "static": option(0.5, 110, 8.0, 9.5)}, "latency") == FLOAT
    assert choose({FLOAT: FLOAT32, "static": option(0.5, 110, 8.0, 8.9)}, "latency") == "static"


def test_float32_wins_where_nothing_is_smaller() -> None:
    assert choose({FLOAT: FLOAT32, "static": option(0.5, 400, 1.0, 1.0)}, "size") == FLOAT
