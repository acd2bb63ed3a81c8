"""A page tells each seed that data was generated with, whichever variant goes by it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from onnxbuild.recipe.types import RandomData
from onnxbuild.report.collect import _seeds


def variant(name: str, seed: int) -> Any:
    data = SimpleNamespace(data=RandomData(seed=seed))
    return SimpleNamespace(target=SimpleNamespace(variant=name, evaluation=data, calibration=None))


def test_a_seed_that_all_variants_share_is_told_once_and_others_by_variant() -> None:
    assert _seeds([variant("fp32", 1), variant("int8", 1)]) == {"processes of stages": 0, "evaluation data": 1}
    told = _seeds([variant("fp32", 1), variant("int8", 2)])
    assert told == {"processes of stages": 0, "evaluation data of fp32": 1, "evaluation data of int8": 2}
