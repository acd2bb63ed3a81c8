"""In which order ready actions start: the longest way to the end first; decides nothing about any of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from onnxbuild.base.atomic import write_atomically
from onnxbuild.plan.action import Action
from onnxbuild.stages.table import STAGES


class Costs:
    """Seconds that each action took when it last ran, by its name in this project; kept in `file`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seconds: dict[str, float] | None = None
        self._dirty = False

    def get(self, action: str) -> float | None:
        """Return the seconds of the action's last run, None when none is known."""
        return self._read().get(action)

    def set(self, action: str, seconds: float) -> None:
        """Remember what a run of the action took."""
        if self._read().get(action) != seconds:
            self._read()[action] = seconds
            self._dirty = True

    def save(self) -> None:
        """Write what is known, when anything of it is new."""
        if self._dirty:
            write_atomically(self._file, json.dumps(self._seconds, sort_keys=True).encode())
            self._dirty = False

    def _read(self) -> dict[str, float]:
        if self._seconds is None:
            try:
                known = json.loads(self._file.read_bytes())
            except (OSError, ValueError):
                known = {}
            entries = known.items() if isinstance(known, dict) else ()
            self._seconds = {name: float(s) for name, s in entries if isinstance(s, (int, float)) and s >= 0}
        return self._seconds


def expected_seconds(actions: Mapping[str, Action], costs: Costs) -> dict[str, float]:
    """Return the seconds each action is expected to take.

    One that never ran: what others of its stage took on average, else what the stage itself says.
    """
    known = {name: seconds for name in actions if (seconds := costs.get(name)) is not None}
    by_stage: dict[str, list[float]] = {}
    for name, seconds in known.items():
        by_stage.setdefault(actions[name].stage, []).append(seconds)
    usual = {stage: sum(seconds) / len(seconds) for stage, seconds in by_stage.items()}
    return {
        name: known.get(name, usual.get(action.stage, STAGES[action.stage].seconds)) for name, action in actions.items()
    }


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
