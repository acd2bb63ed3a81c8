"""A make that goes on in the background while a test looks at it; knows nothing of the engine's inside."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from onnxbuild.recipe.cache import GRAIN
from tests.project import ENVIRONMENT, Done, Project


class Running:
    """A started `onnxbuild make` with an events file of its own."""

    def __init__(self, project: Project, name: str, *arguments: str) -> None:
        self._events = project.root.parent / f"{name}.jsonl"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "onnxbuild", "make", "--events", str(self._events), *arguments],
            cwd=project.root,
            env={**ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def events(self) -> list[dict[str, Any]]:
        """Return the whole lines written so far."""
        if not self._events.exists():
            return []
        *lines, _ = self._events.read_text().split("\n")
        return [json.loads(line) for line in lines]

    def finished(self, action: str) -> bool:
        """Tell whether an action has ended well by now."""
        return any(e["event"] == "action" and (e["action"], e["status"]) == (action, "ok") for e in self.events())

    def children(self) -> list[psutil.Process]:
        """Return all processes below this one, as they are now."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def done(self, timeout: float = 120) -> Done:
        """Wait for its end and return what it left."""
        out, err = self.process.communicate(timeout=timeout)
        return Done(self.process.returncode, out, err, self.events())


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Look until `condition` holds; fails the test when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def wait_until_settled(project: Project) -> None:
    """Wait until no file below recipes/ is too young for the recipes' cache."""
    files = [path for path in (project.root / "recipes").rglob("*") if path.is_file()]

    def are_older() -> bool:
        return max(path.stat().st_ctime_ns for path in files) < time.time_ns() - GRAIN

    wait_for(are_older, "the grain of the recipes' cache")
