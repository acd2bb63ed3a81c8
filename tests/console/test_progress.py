"""What the live display says, from events; and that it costs nothing where it is not shown."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from onnxbuild.engine.events import ActionDone, ActionStarted, DecisionKind, PlanMade, Status
from onnxbuild.progress import MOST_LINES, Tally, is_live_terminal


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def started(
    name: str, path: float, estimate: float | None = None, targets: tuple[str, ...] = ("a:b",)
) -> ActionStarted:
    return ActionStarted(action=name, stage="export", targets=targets, reasons=(), estimate=estimate, path=path)


def done(name: str) -> ActionDone:
    return ActionDone(action=name, stage="export", targets=(), decision=DecisionKind.RUN, status=Status.OK)


def test_longest_way_comes_first_with_elapsed_and_estimate() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.hear(PlanMade(("a:b",), 4))
    tally.hear(started("short", 1.0))
    clock.now += 3.2
    tally.hear(started("long", 90.0, 65.0, ("a:b", "a:c", "a:d")))
    clock.now += 8
    assert tally.rows() == [
        ("long", "for a:b and 2 more", "8 s of about 1 min 5 s"),
        ("short", "for a:b", "12 s"),
    ]
    tally.hear(done("short"))
    assert tally.summary() == "1 of 4 done, 1 running, 12 s"


def test_many_actions_are_cut_to_those_that_decide() -> None:
    tally = Tally(Clock())
    tally.hear(PlanMade((), 99))
    for number in range(MOST_LINES + 3):
        tally.hear(started(f"a{number}", number))
    rows = tally.rows()
    assert rows[0][0] == f"a{MOST_LINES + 2}"
    assert rows[-1] == ("and 3 more", "", "")
    assert len(rows) == MOST_LINES + 1


def test_action_made_again_never_passes_the_total() -> None:
    tally = Tally(Clock())
    tally.hear(PlanMade((), 1))
    tally.hear(done("a"))
    tally.hear(done("a"))
    assert tally.summary().startswith("1 of 1 done")


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"TERM": "xterm"}, True),
        ({}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "xterm", "CI": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
    ],
)
def test_display_only_where_welcome(environment: dict[str, str], wanted: bool) -> None:
    assert is_live_terminal(Tty(), environment) is wanted
    assert not is_live_terminal(io.StringIO(), environment)


def test_importing_the_console_imports_no_display_library() -> None:
    code = "import sys, onnxbuild.console; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
