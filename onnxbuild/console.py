"""Everything that is printed for people: progress, verdicts and diagnostics, from events and values."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TextIO

from onnxbuild.base.annotations import workflow_command
from onnxbuild.base.diagnostics import Diagnostic
from onnxbuild.base.render import printable, render
from onnxbuild.base.units import format_duration
from onnxbuild.engine.events import (
    STOPPED,
    ActionDone,
    ActionProgress,
    ActionStarted,
    DecisionKind,
    Event,
    Gate,
    LockCompared,
    Notice,
    PlanMade,
    Rebuilt,
    Retold,
    RunEnded,
    Status,
    TargetJudged,
)
from onnxbuild.progress import Progress, is_live_terminal
from onnxbuild.stamp import is_coloured

_COLORS = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}
_VERDICTS = {"passed": "green", "failed": "red", "unverified": "yellow"}


class Console:
    """Prints to `out` what happens and to `err` what is wrong; colour only on a terminal and without NO_COLOR."""

    def __init__(
        self,
        *,
        quiet: bool = False,
        verbose: bool = False,
        out: TextIO | None = None,
        err: TextIO | None = None,
        coloured: bool | None = None,
    ) -> None:
        self.out, self.err = out or sys.stdout, err or sys.stderr
        self._coloured = coloured
        self.quiet, self.verbose = quiet, verbose
        self.dry_run = False
        self._targets: tuple[str, ...] = ()
        self._gates: dict[str, list[Gate]] = {}
        self._verdicts: dict[str, int] = {}
        self._acted = False
        self._touched: set[str] = set()
        self._estimates: list[float] = []
        self._stopped, self._skipped = False, 0
        self._progress: Progress | None = None

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show below what is printed what is going on, where that is welcome; gone at the end, however it comes."""
        if self.quiet or not is_live_terminal(self.out):
            yield
            return
        self._progress = Progress(self.out)
        try:
            yield
        finally:
            self._progress.close()
            self._progress = None

    def say(self, text: str) -> None:
        """Print one line, unless quiet."""
        if not self.quiet:
            self._write(text, self.out)

    def print(self, text: str) -> None:
        """Print what the command was called for, quiet or not."""
        self._write(text, self.out)

    def diagnose(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Print diagnostics to standard error."""
        for diagnostic in diagnostics:
            self._write(render(diagnostic, color=self._colors(self.err)), self.err)

    def annotate(self, diagnostics: Iterable[Diagnostic], prefix: str) -> None:
        """Print diagnostics as GitHub's workflow commands; see base.annotations."""
        for diagnostic in diagnostics:
            self._write(workflow_command(diagnostic, prefix), self.out)

    @contextmanager
    def without_commands(self) -> Iterator[None]:
        """Keep what is printed meanwhile from being read as GitHub's workflow commands, whatever names it holds."""
        token = os.urandom(16).hex()
        self.err = self.out  # two streams would come in any order
        self._write(f"::stop-commands::{token}", self.out)
        try:
            yield
        finally:
            self._write(f"::{token}::", self.out)

    def hear(self, event: Event) -> None:
        """Print an event of a run."""
        if self._progress is not None:
            self._progress.hear(event)
        match event:
            case PlanMade():
                self._targets, self._acted, self._estimates = event.targets, False, []
                self._stopped, self._skipped = False, 0
                self._gates.clear()
                self._verdicts.clear()
                self._touched.clear()
            case ActionStarted():
                if self.verbose:
                    self.say(f"{self._paint('start', 'dim'):9} {event.action}  {'; '.join(event.reasons)}")
            case ActionProgress():
                self.say(self._paint(f"{'':9} {event.action}: {event.message}", "dim"))
            case ActionDone():
                self._action(event)
            case Gate():
                self._gates.setdefault(event.target, []).append(event)
            case TargetJudged():
                self._verdict(event)
            case Notice():
                self.say(f"{self._paint('note', 'yellow')} {event.message}")
            case LockCompared():
                self._lock(event)
            case Retold():
                for each in event.events if self.verbose else event.said:
                    self.hear(each)
            case Rebuilt():
                self._rebuilt(event)
            case RunEnded():
                self._end(event)

    def _action(self, event: ActionDone) -> None:
        if event.decision is not DecisionKind.UP_TO_DATE:
            self._touched.update(event.targets)
        if event.status is Status.FAILED:
            self._acted = True
            self._failure(event)
            return
        if event.decision is DecisionKind.UP_TO_DATE:
            if self.verbose:
                self.say(f"{self._paint('up to date', 'dim')} {event.action}")
            return
        self._acted = True
        if event.estimate is not None:
            self._estimates.append(event.estimate)
        reasons = self._paint("; ".join(event.reasons), "dim")
        if event.decision is DecisionKind.RUN and event.seconds:
            self.say(f"{'ran':9} {event.action:44} {format_duration(event.seconds):>8}  {reasons}")
        elif event.on and event.decision is DecisionKind.WAITS:
            self.say(f"{'waits':9} {event.action:44} {_about(event.estimate):>8}  on {', '.join(event.on)}")
        elif event.decision is DecisionKind.BLOCKED:
            why = "; ".join(event.reasons) or f"needs {', '.join(event.on)}"
            self._stopped = self._stopped or event.reasons == (STOPPED,)
            self._skipped += 1
            if not self.verbose:  # their targets are told of, with what failed
                return
            self.say(f"{self._paint('skipped', 'yellow')}   {event.action:44} {why}")
        else:
            restored = "restores" if self.dry_run else "restored"
            word = {DecisionKind.RESTORE: restored, DecisionKind.RUN: "would run"}.get(event.decision, "")
            self.say(f"{word:9} {event.action:44} {_about(event.estimate):>8}  {reasons}")
        for warning in event.warnings:
            self.say(f"          {self._paint('warning', 'yellow')} {printable(warning.message)} [{warning.code}]")

    def _failure(self, event: ActionDone) -> None:
        failure = event.failure
        lines = [f"{self._paint('failed', 'red')}    {event.action}"]
        if failure is not None:
            where = "".join(f" ({kind} {name})" for kind, name in (("node", failure.node),) if name)
            said = f"{failure.message}{where} [{failure.code}]\n{failure.traceback or ''}"
            lines += [f"          {printable(line)}" for line in said.rstrip().splitlines()]
            if failure.hint:
                lines.append(f"          {self._paint('hint', 'bold')} {failure.hint}")
            if failure.place:
                lines.append(f"          asked for at {failure.place}")
            if failure.log:
                lines.append(f"          log {failure.log}")
        self._write("\n".join(lines), self.err)

    def _lock(self, event: LockCompared) -> None:
        if event.agrees and not event.unverified:
            self.say(f"{self._paint('locked', 'green'):9} {event.target} is as it was accepted")
        for difference in event.differences:
            self.print(f"{self._paint('differs', 'red'):9} {event.target}: {difference}")
        if not event.agrees:
            accept = f"if it is meant: `onnxbuild accept {event.target}`, and commit the lock"
            self.say(f"          {self._paint('hint', 'bold')} {accept}")
        for note in event.notes:
            self.print(f"{'note':9} {event.target}: {note}")
        for note in event.unverified:
            self.print(f"{self._paint('unverified', 'yellow'):9} {event.target}: {note}")

    def _rebuilt(self, event: Rebuilt) -> None:
        self._acted = True
        if event.verdict == "same":
            self.say(f"{self._paint('same', 'green'):9} {event.action}")
        else:
            self.print(f"{self._paint(event.verdict, 'red'):9} {event.action}: {event.difference}")

    def _verdict(self, event: TargetJudged) -> None:
        self._verdicts[event.verdict] = self._verdicts.get(event.verdict, 0) + 1
        warnings = [warning for gate in self._gates.get(event.target, ()) for warning in gate.warnings]
        is_old = event.target not in self._touched and not warnings
        if event.verdict == "passed" and is_old and not self.verbose:
            return
        word = self._paint(event.verdict, _VERDICTS[event.verdict])
        where = f"  {event.output}" if event.output else ""
        bad = [gate for gate in self._gates.get(event.target, ()) if gate.verdict != "passed"]
        why = "".join(f"; {reason}" for reason in (event.reason, *(gate.reason for gate in bad)) if reason)
        line = f"{word:9} {event.target}{where}{printable(why)}"
        if event.verdict == "passed":
            self.say(line)
        else:
            self.print(line)
        for culprit in event.culprits:
            self.say(f"          {self._paint('culprit', 'yellow')} {culprit}")
        if event.hint:
            self.say(f"          {self._paint('hint', 'bold')} {event.hint}")
        for warning in warnings:
            self.say(f"          {self._paint('warning', 'yellow')} {printable(warning.message)} [{warning.code}]")

    def _end(self, event: RunEnded) -> None:
        took = format_duration(event.seconds)
        if not self._acted and not self._verdicts:
            self.say(f"Nothing to do: {_count(len(self._targets), 'target')} up to date ({took})")
            return
        told = dict(sorted(self._verdicts.items()))
        if self.dry_run:
            self._end_dry(event)
            return
        if not self._acted:
            self.say(f"Nothing to do ({took}): {_counts(told)}")
            return
        counts = _counts({**told, "not built": len(self._targets) - sum(told.values())})
        done = f"{event.ran} ran, {event.restored} restored, {event.up_to_date} up to date"
        done += f", {self._skipped} skipped" if self._skipped else ""
        self.say(f"{counts}: {done}, in {took}")
        if self._stopped:
            self.say(f"          {self._paint('hint', 'bold')} `-k` builds all that does not need what failed")

    def _end_dry(self, event: RunEnded) -> None:
        waiting = len(self._estimates) - event.ran
        restored = f", {event.restored} to restore" if event.restored else ""
        work = f": at most {format_duration(sum(self._estimates))} of work" if self._estimates else ""
        self.say(f"{event.ran} would run, {waiting} wait{restored}, {event.up_to_date} up to date{work}")

    def _write(self, text: str, stream: TextIO) -> None:
        with self._progress.aside() if self._progress is not None else nullcontext():
            print(text, file=stream, flush=True)

    def _colors(self, stream: TextIO) -> bool:
        if self._coloured is not None:
            return self._coloured
        return stream.isatty() and is_coloured(stream.fileno())

    def _paint(self, text: str, color: str) -> str:
        return f"\x1b[{_COLORS[color]}m{text}\x1b[0m" if text and self._colors(self.out) else text


def transcript(
    events: Iterable[Event], diagnostics: Iterable[Diagnostic], *, quiet: bool, coloured: bool
) -> tuple[str, str]:
    """Return what a run that tells these would print, on standard output and on standard error."""
    out, err = io.StringIO(), io.StringIO()
    console = Console(quiet=quiet, out=out, err=err, coloured=coloured)
    console.diagnose(diagnostics)
    for event in events:
        console.hear(event)
    return out.getvalue(), err.getvalue()


def _about(seconds: float | None) -> str:
    return f"~{format_duration(seconds)}" if seconds is not None else ""


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {word}" for word, number in numbers.items() if number)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
