"""A pass as a transaction: tried whole, and where it breaks the model without the single passes that do; knows no tool.

The search needs nothing but tries: of the first k parts, the smallest k that breaks the model names the culprit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from onnxbuild.stages import tools
from onnxbuild.stages.reverts import Reverted
from onnxbuild.stages.trial import Bench, Trial


@dataclass(frozen=True)
class Culprit:
    """A part that breaks the model when it runs after `before`; `name` None: the entry itself, with or without parts.

    `trial` is the try that showed it.
    """

    name: str | None
    before: tuple[str, ...]
    trial: Trial


@dataclass(frozen=True)
class Kept:
    """What is left of an entry: the try that stands and the folder of its model, and what had to be left out."""

    trial: Trial
    folder: Path
    reverted: tuple[Reverted, ...] = ()


def apply_guarded(bench: Bench, source: Path) -> Kept:
    """Apply the entry to the model in `source`, without what breaks it. Raises StageFailure."""
    from onnxbuild.stages.repro import keep_repro

    whole = bench.attempt(source, None)
    if whole.broke is None:
        return Kept(whole, bench.candidate if whole.changed else source)
    trial, culprits = _search(bench, source, whole)
    kept = bench.ws.scratch / "kept"
    if trial.changed:
        bench.candidate.rename(kept)  # the search for a small model tries on
    reverted = tuple(keep_repro(bench, source, culprit, number) for number, culprit in enumerate(culprits, 1))
    return Kept(trial, kept if trial.changed else source, reverted)


def _search(bench: Bench, source: Path, whole: Trial) -> tuple[Trial, list[Culprit]]:
    """Return the last try, which did not break the model, and the culprits it is without."""
    nothing = Trial(tested=whole.tested)
    left = list(tools.parts_of(bench.step))
    if not left or bench.attempt(source, ()).broke is not None:
        return nothing, [Culprit(None, (), whole)]
    culprits: list[Culprit] = []
    while (trial := bench.attempt(source, left)).broke is not None:
        count, trial = _first_breaking(bench, source, left, trial)
        culprits.append(Culprit(left[count - 1], tuple(left[: count - 1]), trial))
        del left[count - 1]
    if not culprits:  # the tool does not repeat itself, so nothing it makes is to be trusted
        return nothing, [Culprit(None, (), whole)]
    return msgspec.structs.replace(trial, tested=trial.tested if trial.changed else whole.tested), culprits


def _first_breaking(bench: Bench, source: Path, parts: Sequence[str], broken: Trial) -> tuple[int, Trial]:
    """Return a count of parts that breaks the model where one part less does not, and the try with it.

    None of the parts do not break it, all do (`broken`): halving keeps that, whatever lies between.
    """
    sound, count = 0, len(parts)
    while count - sound > 1:
        middle = (sound + count) // 2
        trial = bench.attempt(source, parts[:middle])
        if trial.broke is None:
            sound = middle
        else:
            count, broken = middle, trial
    return count, broken
