"""The search for a session configuration: one setting after the other, each in turns with the best so far; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from onnxbuild.proof.timing import Estimate
from onnxbuild.recipe.types import Session

Compare = Callable[[Session, Session], Estimate]
"""How many times as good the first is as the second."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison: `gain` above 1 is better than `against`; `last` is the winner's against the default."""

    session: Session
    against: Session
    gain: Estimate
    last: bool = False


def search(
    default: Session, alternatives: Mapping[str, Sequence[object]], compare: Compare
) -> tuple[Session, tuple[Tried, ...]]:
    """Return what is better than `default` beyond chance, and all that was tried; the default stays where nothing is.

    `alternatives` are values to try of each setting. A setting is taken when the interval of its gain lies above 1, the
    one with the largest gain of several. What came together so is held against the default once more, because the
    luckiest of several looks better than it is.
    """
    current, tried = default, list[Tried]()
    for name, values in alternatives.items():
        best: Tried | None = None
        for value in values:
            candidate = msgspec.structs.replace(current, **{name: value})
            one = Tried(session=candidate, against=current, gain=compare(candidate, current))
            tried.append(one)
            if one.gain.low > 1 and (best is None or one.gain.value > best.gain.value):
                best = one
        current = best.session if best is not None else current
    if current != default:
        last = Tried(session=current, against=default, gain=compare(current, default), last=True)
        tried.append(last)
        current = current if last.gain.low > 1 else default
    return current, tuple(tried)
