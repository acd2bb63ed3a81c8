"""The order in which ready actions start, what it goes by, and how `-j` counts."""

from __future__ import annotations

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from onnxbuild.engine.order import Costs, Load, has_room, load_of, longest_ways
from onnxbuild.plan.action import Action, Ref
from onnxbuild.proof.timing import Surroundings
from onnxbuild.recipe.types import Session
from onnxbuild.stages.inspect import InspectParams
from onnxbuild.stages.tune import TuneFacts
from onnxbuild.stages.validate import ValidateParams
from onnxbuild.stamp import cores


def action(name: str, *upstream: str, stage: str = "optimize", params: msgspec.Struct | None = None) -> Action:
    inputs = {f"i{number}": Ref(other, "model") for number, other in enumerate(upstream)}
    return Action(name, stage, params or InspectParams(), inputs, {}, "recipes")


def plan(*actions: Action) -> dict[str, Action]:
    return {each.name: each for each in actions}


def costs(tmp_path: Path, **seconds: float) -> Costs:
    known = Costs(tmp_path / "costs.json")
    for name, value in seconds.items():
        known.set(name, "quantize", value)
    return known


def test_way_is_the_longest_chain(tmp_path: Path) -> None:
    actions = plan(action("a"), action("b"), action("a2", "a"), action("b2", "b"))
    assert longest_ways(actions, costs(tmp_path, a=5, b=1, a2=1, b2=10)) == {"a": 6, "b": 11, "a2": 1, "b2": 10}


def test_unknown_cost_is_that_of_its_stage(tmp_path: Path) -> None:
    actions = plan(action("x", stage="quantize"), action("y", stage="quantize"), action("z", stage="package"))
    assert longest_ways(actions, costs(tmp_path, x=40))["y"] == 40
    ways = longest_ways(actions, costs(tmp_path / "none"))
    assert ways["y"] > ways["z"]


@given(st.lists(st.tuples(st.sets(st.integers(0, 30)), st.floats(0, 1e6)), max_size=30))
def test_no_way_is_shorter_than_that_of_what_needs_it(graph: list[tuple[set[int], float]]) -> None:
    known = Costs(Path("/nonexistent/costs.json"))
    actions = plan(*(action(str(n), *(str(u) for u in sorted(up) if u < n)) for n, (up, _) in enumerate(graph)))
    for number, (_, seconds) in enumerate(graph):
        known.set(str(number), "optimize", seconds)
    ways = longest_ways(actions, known)
    assert len(ways) == len(actions)
    assert all(ways[up] >= ways[name] for name, each in actions.items() for up in each.upstream)


def test_costs_are_kept_and_rubbish_is_nothing(tmp_path: Path) -> None:
    known = costs(tmp_path, a=2.5)
    known.save()
    assert Costs(tmp_path / "costs.json").get("a") == 2.5
    for rubbish in ('{"a": "x"}', '{"b": ["export", -1]}', "[]", "{"):
        (tmp_path / "costs.json").write_text(rubbish)
        again = Costs(tmp_path / "costs.json")
        assert again.get("a") is None
        assert again.get("b") is None


def validate(count: int | None) -> Action:
    session = Session(intra_op_threads=count)
    params = ValidateParams(provider="cpu", session=session, metric=None, output=None, axis=-1, average=None, k=1)
    return action("v", stage="validate", params=params)


def untold(label: str) -> None:
    """No input's maker told anything."""


def test_jobs_count_threads() -> None:
    one, three = load_of(action("one"), untold), load_of(validate(3), untold)
    assert (one, three) == (Load(1), Load(3))
    assert load_of(validate(0), untold) == Load(cores()), "all there are"
    assert has_room(three, [one], 4)
    assert not has_room(three, [one, one], 4)
    assert has_room(one, [one, one], 3)
    assert not has_room(one, [three], 3)


def test_session_that_was_chosen_is_counted_instead_of_the_recipe_s() -> None:
    facts = TuneFacts(
        objective="latency",
        provider="cpu",
        batch=1,
        session=Session(intra_op_threads=5),
        surroundings=Surroundings(cpu="x", cores=8, threads=1, load_before=None, load_after=None, governor=None),
        machine="x; 8 cores",
    )
    assert load_of(validate(None), {"session": facts}.get) == Load(5)


def test_action_wider_than_all_jobs_runs_alone() -> None:
    assert has_room(Load(64), [], 2)
    assert not has_room(Load(64), [Load(1)], 2)
    assert not has_room(Load(1), [Load(64)], 2)


def test_what_measures_the_machine_runs_alone() -> None:
    timed, other = (load_of(action("a", stage=stage), untold) for stage in ("benchmark", "prune"))
    assert has_room(timed, [], jobs=1)
    assert not has_room(timed, [other], jobs=64)
    assert not has_room(other, [timed], jobs=64)
    assert not has_room(timed, [timed], jobs=64)
