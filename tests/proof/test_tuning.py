"""The search for a session from recorded gains: the default stays unless a gain is beyond chance; nothing is timed."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from onnxbuild.proof.timing import Estimate
from onnxbuild.proof.tuning import search
from onnxbuild.recipe.types import Session

DEFAULT = Session()
ALTERNATIVES: dict[str, tuple[object, ...]] = {"intra_op_threads": (2, 4), "memory_pattern": (False,)}


def compare(speeds: list[tuple[Session, float]], spread: float = 0.01) -> Callable[[Session, Session], Estimate]:
    def speed(of: Session) -> float:
        return next((value for session, value in speeds if session == of), 1.0)

    def ratio(one: Session, other: Session) -> Estimate:
        value = speed(one) / speed(other)
        return Estimate(value, value * (1 - spread), value * (1 + spread))

    return ratio


def session(**settings: object) -> Session:
    return msgspec.structs.replace(DEFAULT, **settings)


def test_default_stays_where_nothing_is_better() -> None:
    chosen, tried = search(DEFAULT, ALTERNATIVES, compare([(session(intra_op_threads=2), 0.8)]))
    assert chosen == DEFAULT
    assert [(one.session, one.against) for one in tried] == [
        (session(intra_op_threads=2), DEFAULT),
        (session(intra_op_threads=4), DEFAULT),
        (session(memory_pattern=False), DEFAULT),
    ]


def test_gain_within_chance_is_none() -> None:
    speeds = [(session(intra_op_threads=2), 1.2), (session(memory_pattern=False), 1.1)]
    assert search(DEFAULT, ALTERNATIVES, compare(speeds, spread=0.25))[0] == DEFAULT


def test_best_of_each_setting_is_taken_and_the_next_is_held_against_it() -> None:
    both = session(intra_op_threads=4, memory_pattern=False)
    speeds = [(session(intra_op_threads=2), 1.5), (session(intra_op_threads=4), 1.8), (both, 2.0)]
    chosen, tried = search(DEFAULT, ALTERNATIVES, compare(speeds))
    assert chosen == both
    assert [(one.session, one.against, one.last) for one in tried[2:]] == [
        (both, session(intra_op_threads=4), False),
        (both, DEFAULT, True),
    ]


def test_winner_that_does_not_win_again_is_dropped() -> None:
    seen: list[tuple[Session, Session]] = []

    def lucky(one: Session, other: Session) -> Estimate:
        again = (one, other) in seen
        seen.append((one, other))
        return Estimate(1.0, 0.9, 1.1) if again or one != session(intra_op_threads=2) else Estimate(1.2, 1.1, 1.3)

    chosen, tried = search(DEFAULT, ALTERNATIVES, lucky)
    assert chosen == DEFAULT
    assert tried[-1].last
    assert tried[-1].session == session(intra_op_threads=2)


def test_what_the_recipe_settles_is_kept() -> None:
    fixed = Session(graph_optimization="basic")
    better = msgspec.structs.replace(fixed, intra_op_threads=2)
    chosen, _ = search(fixed, {"intra_op_threads": (2,)}, compare([(better, 2.0)]))
    assert chosen == better
