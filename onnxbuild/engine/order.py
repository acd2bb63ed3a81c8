"""In which order ready actions start: the longest way to the end first; decides nothing about any of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from onnxbuild.base.atomic import write_atomically
from onnxbuild.base.codec import decode, encode
from onnxbuild.plan.action import Action
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


def threads(action: Action) -> int:
    """Return how many cores the action keeps busy."""
    return max(1, STAGES[action.stage].threads(action.params))


def has_room(action: Action, running: Iterable[Action], jobs: int) -> bool:
    """Tell whether the action may start beside those `running`, when all together may keep `jobs` cores busy.

    One that alone asks for more runs alone, as does one that measures the machine. An action that does not fit waits
    while narrower ones behind it start.
    """
    others = [*running]
    if any(STAGES[each.stage].alone for each in (action, *others)):
        return not others
    busy = sum(threads(other) for other in others)
    return busy == 0 or busy + threads(action) <= jobs
