"""In which order ready actions start: the longest way to the end first; decides nothing about any of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from onnxbuild.base.atomic import write_atomically
from onnxbuild.base.codec import decode, encode
from onnxbuild.plan.action import Action
from onnxbuild.stages.stage import Told
from onnxbuild.stages.table import STAGES


class Costs:
    """Seconds that each action took when it last ran, by its name in this project, with its stage; kept in `file`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, tuple[str, float]] | None = None
        self._usual: dict[str, float] | None = None
        self._dirty = False

    def get(self, action: str) -> float | None:
        """Return the seconds of the action's last run, None when none is known."""
        known = self._read().get(action)
        return known[1] if known is not None else None

    def usual(self, stage: str) -> float:
        """Return what actions of a stage took on average in this project, else what the stage itself says.

        As it was before this make: an estimate does not depend on what else is in the plan.
        """
        if self._usual is None:
            by_stage: dict[str, list[float]] = {}
            for of, seconds in self._read().values():
                by_stage.setdefault(of, []).append(seconds)
            self._usual = {of: sum(seconds) / len(seconds) for of, seconds in by_stage.items()}
        return self._usual.get(stage, STAGES[stage].seconds)

    def set(self, action: str, stage: str, seconds: float) -> None:
        """Remember what a run of the action took."""
        if self._read().get(action) != (stage, seconds):
            self._read()[action] = (stage, seconds)
            self._dirty = True

    def save(self) -> None:
        """Write what is known, when anything of it is new."""
        if self._dirty:
            write_atomically(self._file, encode(self._known), durable=False)
            self._dirty = False

    def _read(self) -> dict[str, tuple[str, float]]:
        if self._known is None:
            try:
                known = decode(self._file.read_bytes(), dict[str, tuple[str, float]])
            except (OSError, msgspec.MsgspecError):
                known = {}
            self._known = {name: (stage, seconds) for name, (stage, seconds) in known.items() if seconds >= 0}
        return self._known


def expected_seconds(actions: Mapping[str, Action], costs: Costs) -> dict[str, float]:
    """Return the seconds each action is expected to take: as last time, else as usual for its stage."""
    known = {name: costs.get(name) for name in actions}
    return {n: seconds if seconds is not None else costs.usual(actions[n].stage) for n, seconds in known.items()}


def longest_ways(actions: Mapping[str, Action], costs: Costs) -> dict[str, float]:
    """Return the seconds expected of each action and of the longest chain of actions that need it.

    `actions` are in an order in which each comes after what it needs. No way is shorter than that of an action
    that needs it.
    """
    expected = expected_seconds(actions, costs)
    longest: dict[str, float] = {}
    ways: dict[str, float] = {}
    for name in reversed([*actions]):
        ways[name] = way = expected[name] + longest.get(name, 0.0)
        for upstream in actions[name].upstream:
            longest[upstream] = max(longest.get(upstream, 0.0), way)
    return ways


@dataclass(frozen=True)
class Load:
    """What an action takes of the machine: so many cores, or all of it while it measures."""

    threads: int
    alone: bool = False


def load_of(action: Action, told: Told) -> Load:
    """Return the load of an action whose inputs' makers `told` what they did."""
    stage = STAGES[action.stage]
    return Load(max(1, stage.threads(action.params, told)), stage.alone)


def has_room(load: Load, running: Iterable[Load], jobs: int) -> bool:
    """Tell whether what takes `load` may start beside those `running`, when all together may keep `jobs` cores busy.

    What alone asks for more runs alone, as does what measures the machine: all of it starts in the end. What does not
    fit waits while narrower ones behind it start.
    """
    others = [*running]
    if load.alone or any(other.alone for other in others):
        return not others
    busy = sum(other.threads for other in others)
    return busy == 0 or busy + load.threads <= jobs
