"""The search for what to keep in float, on measurements that are made up."""

from __future__ import annotations

from collections.abc import Callable

from onnxbuild.proof.ablation import Measured
from onnxbuild.proof.repairing import Found, Search
from onnxbuild.recipe.types import Choice

LAYERS = {name: (f"{name}/Conv", f"{name}/Relu") for name in "abcdef"}
Use = Callable[[frozenset[str], Choice], float]


def search(
    use: Use,
    switches: tuple[Choice, ...] = (),
    locked: Choice | None = None,
) -> tuple[Found, list[Choice]]:
    """Search where `use` tells how much of the tolerance is used when these layers are kept; 1 meets it."""
    asked: list[Choice] = []

    def measure(choice: Choice) -> Measured:
        asked.append(choice)
        return measured(choice)

    def measured(choice: Choice) -> Measured:
        kept = frozenset(name for name, nodes in LAYERS.items() if set(nodes) <= set(choice.keep))
        value = use(kept, choice)
        return Measured(use=value, sqnr_db=-value, meets=value <= 1)

    return Search(LAYERS, measure, 100).run(measured(Choice()), switches, locked), asked


def test_one_layer_that_is_enough_is_all_that_is_kept() -> None:
    found, asked = search(lambda kept, _: 0.5 if "c" in kept else 3.0)
    assert found.best.layers == ("c",)
    assert found.best.choice.keep == ("c/Conv", "c/Relu")
    assert found.best.measured is not None
    assert found.best.measured.meets
    assert len(asked) == 3, "no layer is tried once one alone is enough"
    assert found.stopped is None


def test_a_setting_that_is_enough_costs_no_layer() -> None:
    found, _ = search(lambda _, choice: 0.9 if choice.per_channel else 3.0, (Choice(per_channel=True),))
    assert found.best.choice == Choice(per_channel=True)


def test_what_excluding_more_makes_worse_the_best_seen_is_kept() -> None:
    """Excluding is not monotone: a and b together are worse than either, and nothing meets the tolerance."""

    def use(kept: frozenset[str], _: Choice) -> float:
        if kept == {"a"}:
            return 1.5
        return 2.0 if kept == {"b"} else 2.5 + 0.1 * len(kept)

    found, asked = search(use)
    assert len(asked) > len(LAYERS)
    assert found.best.layers == ("a",)
    assert found.best.measured is not None
    assert found.best.measured.use == 1.5
    assert not found.best.measured.meets


def test_a_layer_that_only_helps_with_its_neighbour_is_found() -> None:
    """The runtime quantises again what lies between quantised neighbours: d alone gains little, d and e meet."""

    def use(kept: frozenset[str], _: Choice) -> float:
        if {"d", "e"} <= kept:
            return 0.4
        return 2.9 if "d" in kept else 3.0 + 0.01 * len(kept)

    found, _ = search(use)
    assert found.best.layers == ("d", "e")


def test_members_that_are_not_needed_are_given_back() -> None:
    """a gains most alone, but b and c meet the tolerance by themselves."""

    def use(kept: frozenset[str], _: Choice) -> float:
        if {"b", "c"} <= kept:
            return 0.8
        return 3.0 - 0.5 * ("a" in kept) - 0.3 * ("b" in kept) - 0.3 * ("c" in kept)

    found, _ = search(use)
    assert found.best.layers == ("b", "c")


def test_settings_that_are_not_needed_are_given_back() -> None:
    def use(kept: frozenset[str], choice: Choice) -> float:
        return 0.5 if "f" in kept else 2.9 if choice.per_channel else 3.0

    found, _ = search(use, (Choice(per_channel=True),))
    assert found.best.choice == Choice(keep=("f/Conv", "f/Relu"))


def test_a_setting_that_is_in_the_way_of_the_layers_is_left_again() -> None:
    def use(kept: frozenset[str], choice: Choice) -> float:
        if choice.calibrate:
            return 2.0
        return 0.5 if {"a", "b"} <= kept else 3.0 - 0.1 * len(kept)

    found, _ = search(use, (Choice(calibrate="percentile"),))
    assert found.best.choice.calibrate is None
    assert found.best.layers == ("a", "b")


def test_a_locked_choice_that_meets_the_tolerance_ends_the_search() -> None:
    locked = Choice(keep=("a/Conv", "a/Relu", "b/Conv", "b/Relu"))
    found, asked = search(lambda kept, _: 0.5 if kept else 3.0, (Choice(per_channel=True),), locked=locked)
    assert asked == [locked]
    assert found.best.choice == locked
    assert found.best.layers == ("a", "b")


def test_a_locked_choice_that_misses_is_searched_past() -> None:
    locked = Choice(keep=("a/Conv", "a/Relu"))
    found, asked = search(lambda kept, _: 0.5 if "c" in kept else 3.0, locked=locked)
    assert asked[0] == locked
    assert found.best.layers == ("c",)


def test_a_spent_budget_and_a_late_hour_end_the_search_with_the_best_seen() -> None:
    many = {f"layer{number}": (f"layer{number}/Conv",) for number in range(40)}
    asked: list[Choice] = []

    def measure(choice: Choice) -> Measured:
        asked.append(choice)
        use = 2.9 if choice.keep == ("layer7/Conv",) else 3.0 + 0.01 * len(choice.keep)
        return Measured(use=use, sqnr_db=-use, meets=False)

    base = Measured(use=3.0, sqnr_db=-3.0, meets=False)
    found = Search(many, measure, 50).run(base, ())
    assert len(asked) == 50
    assert found.stopped == "its budget of measurements was spent"
    assert found.best.layers == ("layer7",)
    asked.clear()
    found = Search(many, measure, 50, lambda: len(asked) >= 4).run(base, ())
    assert len(asked) == 4
    assert found.stopped == "its time was up"
    assert found.best.choice == Choice()
