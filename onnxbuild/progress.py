"""The live display on a terminal: what runs for which target, how long, of how long, how much is done; knows no engine.

Importing this imports no `rich`; only showing something does.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from onnxbuild.base.units import format_duration
from onnxbuild.engine.events import ActionDone, ActionStarted, Event, PlanMade

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

MOST_LINES = 12
"""Actions shown at once; of more, those with the longest way to the end."""


def is_live_terminal(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a display that redraws itself is welcome: a terminal that can, and nobody asked for plain lines."""
    plain = environment.get("NO_COLOR") or environment.get("CI") or environment.get("TERM", "") in ("", "dumb")
    return not plain and stream.isatty()


@dataclass(frozen=True)
class _Line:
    event: ActionStarted
    since: float


@dataclass
class Tally:
    """What the display shows, from events alone; seconds are of `clock`."""

    clock: Callable[[], float] = time.monotonic
    total: int = 0
    done: int = 0
    running: dict[str, _Line] = field(default_factory=dict)
    began: float = 0.0

    def hear(self, event: Event) -> None:
        """Take in an event."""
        match event:
            case PlanMade():
                self.total, self.done, self.began = event.actions, 0, self.clock()
                self.running.clear()
            case ActionStarted():
                self.running[event.action] = _Line(event, self.clock())
            case ActionDone():
                self.running.pop(event.action, None)
                self.done = min(self.done + 1, self.total)  # an action that is made again counts once
            case _:
                pass

    def rows(self) -> list[tuple[str, str, str]]:
        """Return the running actions, those with the longest way to the end first: name, targets, time."""
        lines = sorted([*self.running.values()], key=lambda line: -line.event.path)
        rows = [(line.event.action, _targets(line.event), self._time(line)) for line in lines[:MOST_LINES]]
        if len(lines) > MOST_LINES:
            rows.append((f"and {len(lines) - MOST_LINES} more", "", ""))
        return rows

    def summary(self) -> str:
        """Return the line below the rows."""
        return f"{self.done} of {self.total} done, {len(self.running)} running, {self._since(self.began)}"

    def _time(self, line: _Line) -> str:
        last = f" of about {_whole(line.event.estimate)}" if line.event.estimate is not None else ""
        return f"{self._since(line.since)}{last}"

    def _since(self, moment: float) -> str:
        return _whole(self.clock() - moment)


def _whole(seconds: float) -> str:
    """Return whole seconds, upwards: a display that is drawn five times a second must not flicker with digits."""
    return f"{math.ceil(seconds)} s" if seconds <= 59 else format_duration(math.ceil(seconds))


def _targets(event: ActionStarted) -> str:
    if not event.targets:
        return ""
    more = len(event.targets) - 1
    return f"for {event.targets[0]}" + (f" and {more} more" if more else "")


class Progress:
    """Shows a tally below what is printed on `out`; appears with the first action that starts and leaves no trace."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._tally = Tally()
        self._live: Live | None = None

    def hear(self, event: Event) -> None:
        """Take in an event and, when an action starts, appear."""
        self._tally.hear(event)
        if isinstance(event, ActionStarted):
            self._appear()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Make room while something is printed above."""
        shown = self._live is not None
        self.close()
        try:
            yield
        finally:
            if shown and self._tally.running:
                self._appear()

    def close(self) -> None:
        """Disappear, and give the terminal back as it was."""
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()

    def _appear(self) -> None:
        if self._live is not None:
            return
        from rich.console import Console
        from rich.live import Live

        self._live = Live(
            console=Console(file=self._out, highlight=False),
            get_renderable=self._render,
            refresh_per_second=5,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start(refresh=True)

    def _render(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2), expand=False)
        for _ in range(3):
            table.add_column(no_wrap=True, overflow="ellipsis")
        for name, targets, took in list(self._tally.rows()):
            table.add_row(Text(name, "cyan"), Text(targets, "dim"), Text(took))
        table.add_row(Text(self._tally.summary(), "bold"))
        return table
