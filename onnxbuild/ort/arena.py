"""What ONNX Runtime's arena holds while a model runs, from the runtime's own profile; knows no data and no stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnxruntime as ort


def measure_arena(
    open_profiled: Callable[[Path], ort.InferenceSession], run: Callable[[ort.InferenceSession], object], scratch: Path
) -> tuple[int, int] | None:
    """Run a model some times in a session whose profile goes to `scratch`; return the arena's bytes and the most used.

    None where there is no arena.
    """
    profiled = open_profiled(scratch / "profile")
    for _ in range(3):  # the memory pattern is known after the first
        run(profiled)
    file = Path(profiled.end_profiling())
    found = read_arena(file)
    file.unlink()
    return found


def read_arena(profile: Path) -> tuple[int, int] | None:
    """Return the most bytes that the arena held and the most that were in use, None where no node had one."""
    events = [event.get("args", {}) for event in json.loads(profile.read_bytes())]
    held = [int(args["mem_arena_held"]) for args in events if "mem_arena_held" in args]
    used = [int(args["mem_in_use_peak"]) for args in events if "mem_in_use_peak" in args]
    return (max(held), max(used)) if held and used and any(held) else None
