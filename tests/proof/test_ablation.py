"""Ranking layers on measurements that are made up: alone, in groups, under a budget."""

from __future__ import annotations

import math
from collections.abc import Callable

from onnxbuild.proof.ablation import Measured, rank


def model(gains: dict[str, float], base: float = 10.0) -> tuple[Callable[[frozenset[str]], Measured], list[int]]:
    """A model whose use of the tolerance falls by the gains of what is restored, and the sizes of what was asked."""
    asked: list[int] = []

    def measure(kept: frozenset[str]) -> Measured:
        asked.append(len(kept))
        use = base - sum(gains.get(name, 0.0) for name in kept)
        return Measured(use=use, sqnr_db=-use, meets=use <= 1)

    return measure, asked


def test_layers_are_ranked_by_what_restoring_each_alone_gains() -> None:
    measure, asked = model({"a": 1, "b": 5, "c": -2})
    ranked = rank(["a", "b", "c"], measure, 10)
    assert [entry.layers for entry in ranked] == [("b",), ("a",), ("c",)]
    assert asked == [1, 1, 1]


def test_ties_go_by_decibels_and_what_is_not_a_number_comes_last() -> None:
    found = {
        "a": Measured(use=2.0, sqnr_db=10, meets=False),
        "b": Measured(use=2.0, sqnr_db=20, meets=False),
        "c": Measured(use=math.nan, sqnr_db=math.nan, meets=False),
        "d": Measured(use=math.inf, sqnr_db=30, meets=False),
    }
    ranked = rank([*found], lambda kept: found[next(iter(kept))], 10)
    assert [entry.layers[0] for entry in ranked] == ["b", "a", "d", "c"]


def test_of_many_layers_the_group_that_gains_is_split_down_to_the_layer() -> None:
    names = [f"layer{number}" for number in range(200)]
    measure, asked = model({"layer137": 8.0})
    ranked = rank(names, measure, 40)
    assert ranked[0].layers == ("layer137",)
    assert len(asked) <= 40
    assert sorted(name for entry in ranked for name in entry.layers) == sorted(names)


def test_a_layer_that_cannot_be_restored_is_left_out() -> None:
    measure, _ = model({"a": 1.0})
    ranked = rank(["a", "b"], lambda kept: None if "b" in kept else measure(kept), 10)
    assert [entry.layers for entry in ranked] == [("a",)]


def test_what_only_gains_together_is_found_as_a_run_of_neighbours() -> None:
    names = [f"layer{number}" for number in range(12)]

    def measure(kept: frozenset[str]) -> Measured:
        use = 0.5 if {"layer5", "layer6"} <= kept else 3.0
        return Measured(use=use, sqnr_db=0.0, meets=use <= 1)

    ranked = rank(names, measure, 96, measure(frozenset()))
    assert ranked[0].layers == ("layer5", "layer6")
    assert len(ranked) == len(names) + 1
