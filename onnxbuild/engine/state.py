"""What stood for each action in this project last time: a pointer into the traces, kept beside the project."""

from __future__ import annotations

import json
from pathlib import Path

from onnxbuild.base.atomic import write_atomically
from onnxbuild.store.traces import Trace, TraceStore


class LastTraces:
    """The key and the id of each action's last trace, by the action's name."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last: dict[str, list[str]] = _read(file)
        self._dirty = False

    def get(self, action: str, traces: TraceStore) -> Trace | None:
        """Return the action's last trace, when the store still has it."""
        known = self._last.get(action)
        return traces.get(known[0], known[1]) if known is not None else None

    def set(self, action: str, trace: Trace) -> None:
        """Remember that `trace` stands for `action` now."""
        if self._last.get(action) != [trace.key, trace.id]:
            self._last[action] = [trace.key, trace.id]
            self._dirty = True

    def save(self) -> None:
        """Write the pointers, when any changed."""
        if self._dirty:
            write_atomically(self._file, json.dumps(self._last, sort_keys=True).encode())
            self._dirty = False


def _read(file: Path) -> dict[str, list[str]]:
    try:
        last = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return last if isinstance(last, dict) else {}
