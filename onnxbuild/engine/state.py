"""What stood for each action in this project last time: a pointer into the traces, kept beside the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from onnxbuild.base.atomic import write_atomically
from onnxbuild.base.codec import decode, encode
from onnxbuild.base.seal import BrokenSealError, OtherFormatError, seal, unseal
from onnxbuild.stamp import signature
from onnxbuild.store.traces import Trace, TraceStore

FORMAT = 1


class LastTraces:
    """The key and the id of each action's last trace, by the action's name."""

    def __init__(self, file: Path) -> None:
        self._file, self._read = file, signature(str(file))
        self._last: dict[str, list[str]] = read_state(file)
        self._changed: dict[str, list[str]] = {}

    def get(self, action: str, traces: TraceStore) -> Trace | None:
        """Return the action's last trace, when the store still has it."""
        known = self._last.get(action)
        return traces.get(known[0], known[1]) if known is not None else None

    def pointer(self, action: str) -> tuple[str, str] | None:
        """Return the key and the id of the action's last trace."""
        known = self._last.get(action)
        return (known[0], known[1]) if known is not None else None

    def pointers(self) -> tuple[tuple[str, str], ...]:
        """Return the keys and ids of all that is remembered, also of actions that are in no recipe any more."""
        return tuple((key, trace) for key, trace in self._last.values())

    def set(self, action: str, trace: Trace) -> None:
        """Remember that `trace` stands for `action` now."""
        if self._last.get(action) != [trace.key, trace.id]:
            self._last[action] = self._changed[action] = [trace.key, trace.id]

    def save(self) -> None:
        """Write the pointers that changed, beside what another make has written meanwhile."""
        if self._changed:
            beside = self._last if signature(str(self._file)) == self._read else read_state(self._file)
            write_state(self._file, beside | self._changed)
            self._read = signature(str(self._file))
            self._changed = {}


def read_state(file: Path) -> dict[str, Any]:
    """Return the mapping that `write_state` wrote; empty when it is not there, was altered or is of another format."""
    try:
        state = decode(unseal(file.read_bytes(), f"onnxbuild {file.stem}", FORMAT), dict[str, Any])
    except (FileNotFoundError, NotADirectoryError, BrokenSealError, OtherFormatError, msgspec.MsgspecError):
        return {}
    return state


def write_state(file: Path, state: dict[str, Any], *, durable: bool = True) -> None:
    """Write a mapping under a seal, so that an altered one is lost and never believed."""
    write_atomically(file, seal(encode(state), f"onnxbuild {file.stem}", FORMAT), durable=durable)
