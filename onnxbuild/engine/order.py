"""In which order ready actions start: the longest way to the end first; decides nothing about any of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
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


class Order:
    """A plan's actions, first those with the longest way to the end; each after all that it needs.

    `expected` holds the seconds expected of an action, `path` those of it and of the longest chain of actions that need
    it. An action that never ran is expected to take what others of its stage took on average, else what the stage
    itself says.
    """

    def __init__(self, actions: Mapping[str, Action], costs: Costs) -> None:
        self.expected = _expect(actions, costs)
        longest: dict[str, float] = dict.fromkeys(actions, 0.0)
        self.path: dict[str, float] = {}
        for name in reversed([*actions]):
            self.path[name] = path = self.expected[name] + longest[name]
            for upstream in actions[name].upstream:
                if upstream in longest:
                    longest[upstream] = max(longest[upstream], path)
        # An action's way is never shorter than that of one that needs it, and sorting keeps the plan's order of equals.
        self._names = sorted(actions, key=lambda name: -self.path[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)


def _expect(actions: Mapping[str, Action], costs: Costs) -> dict[str, float]:
    known = {name: seconds for name in actions if (seconds := costs.get(name)) is not None}
    by_stage: dict[str, list[float]] = {}
    for name, seconds in known.items():
        by_stage.setdefault(actions[name].stage, []).append(seconds)
    usual = {stage: sum(seconds) / len(seconds) for stage, seconds in by_stage.items()}
    return {
        name: known.get(name, usual.get(action.stage, STAGES[action.stage].seconds)) for name, action in actions.items()
    }


def threads(action: Action) -> int:
    """Return how many cores the action keeps busy."""
    return max(1, STAGES[action.stage].threads(action.params))


def has_room(action: Action, running: Iterable[Action], jobs: int) -> bool:
    """Tell whether the action may start beside those `running`, when all together may keep `jobs` cores busy.

    One that alone asks for more runs alone. An action that does not fit waits while narrower ones behind it start.
    """
    busy = sum(threads(other) for other in running)
    return busy == 0 or busy + threads(action) <= jobs
