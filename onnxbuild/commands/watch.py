"""`onnxbuild make --watch`: make again whenever something that counts has changed; knows not what a make does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from onnxbuild import api
from onnxbuild.base.diagnostics import UserError
from onnxbuild.console import Console
from onnxbuild.engine.watching import Look, Watched, written_since

POLL = 0.3
"""Seconds between two looks; a change counts once nothing has moved for one of them."""


def watch(root: Path, build: Callable[[], Watched], console: Console) -> None:
    """Build, wait for a change, build again, until interrupted; a broken recipe says so and waits to be mended."""
    watched = known = api.watched_project(root)
    while True:
        before, moment = known.look(), time.time_ns()
        try:
            watched = build()
        except UserError as error:
            console.diagnose(error.diagnostics)
        now = watched.look()
        settled = known.look() == before and not written_since(moment, now, before)
        known = watched
        if settled:
            console.say(f"watching {len(now)} files; Ctrl-C ends")
            _wait(watched, now)
        console.say("")


def _wait(watched: Watched, before: Look) -> None:
    """Return once something changed and has then kept still for a moment: editors write in several steps."""
    while (now := watched.look()) == before:
        time.sleep(POLL)
    while True:
        time.sleep(POLL)
        if (again := watched.look()) == now:
            return
        now = again
