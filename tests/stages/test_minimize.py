"""Making a list shorter while something stays true of it."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from onnxbuild.stages.minimize import minimize


@given(st.integers(1, 60), st.data())
def test_what_is_needed_stays_and_what_is_not_goes(size: int, data: st.DataObject) -> None:
    needed = data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=4))
    assert minimize(range(size), lambda kept: needed <= set(kept), 1000) == sorted(needed)


def test_the_number_of_tries_is_bounded_and_every_answer_holds() -> None:
    asked: list[Sequence[int]] = []

    def holds(kept: Sequence[int]) -> bool:
        asked.append(list(kept))
        return {3, 40, 77} <= set(kept)

    kept = minimize(range(100), holds, 20)
    assert len(asked) == 20
    assert {3, 40, 77} <= set(kept)
    assert len(kept) < 100
