"""`onnxbuild make`: build, prove and deliver targets."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from onnxbuild import stamp
from onnxbuild.base.atomic import write_atomically
from onnxbuild.base.diagnostics import Diagnostic, UserError
from onnxbuild.base.units import format_duration
from onnxbuild.commands.accounts import Accounts
from onnxbuild.console import Console, transcript
from onnxbuild.engine.events import Emit, Event, Retold
from onnxbuild.engine.host import worker_environment
from onnxbuild.engine.pool import Pool
from onnxbuild.recipe.project import find_root
from onnxbuild.stages.packages import PRELOAD

if TYPE_CHECKING:  # what takes long to import is imported while the first worker starts
    from onnxbuild import api
    from onnxbuild.engine.watching import Watched

EXAMPLES = """\
examples:
  onnxbuild make                        everything
  onnxbuild make digits-cnn             one recipe, all variants
  onnxbuild make 'digits-*:int8' -j2    targets by pattern, two actions at once
  onnxbuild make -n                     what would run, and why
  onnxbuild make --check-determinism    rebuild the models twice, elsewhere, and compare
  onnxbuild make --events - -q          JSON lines on standard output
  onnxbuild make --format github --summary "$GITHUB_STEP_SUMMARY" --junit junit.xml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="<recipe> or <recipe>:<variant>, * and ? match")
    parser.add_argument("-j", "--jobs", type=int, metavar="N", help="actions at once (default: the number of cores)")
    parser.add_argument(
        "-k", "--keep-going", action="store_true", help="after a failure, build all that does not need it"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="decide only; run nothing")
    parser.add_argument("--force", action="store_true", help="run every action although nothing changed")
    parser.add_argument("--remeasure", action="store_true", help="run every benchmark although nothing changed")
    parser.add_argument(
        "--rerun", action="append", default=[], metavar="ACTION", help="run this action although nothing changed"
    )
    parser.add_argument("--watch", action="store_true", help="make again whenever an input changes, until Ctrl-C")
    parser.add_argument("--strict", action="store_true", help="fail on what could not be verified")
    parser.add_argument("--locked", action="store_true", help="fail on what differs from the recipes' locks")
    parser.add_argument(
        "--check-determinism",
        action="store_true",
        help="then rebuild all models twice, in other folders and under other hash seeds, and fail if they differ",
    )
    parser.add_argument("--events", metavar="FILE", help="write what happens as JSON lines; - is standard output")
    parser.add_argument("--summary", metavar="FILE", help="write the results as Markdown, for a pull request's comment")
    parser.add_argument("--junit", metavar="FILE", help="write gates and actions as JUnit test cases")
    parser.add_argument(
        "--format", choices=("text", "github"), default="text", help="github: also annotations on the recipes' lines"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Make the targets and return the exit code."""
    root = find_root(Path(arguments.directory))
    accounts = Accounts(root, arguments, console)
    console.dry_run = arguments.dry_run
    with _listeners(arguments, console) as emit:
        if not arguments.watch:
            return _make(root, arguments, console, emit, accounts)[0]
        from onnxbuild.api import watched
        from onnxbuild.commands.watch import watch

        def build() -> Watched:
            return watched(_make(root, arguments, console, emit, accounts)[1])

        watch(root, build, console)
    return 0


def _make(
    root: Path, arguments: argparse.Namespace, console: Console, emit: Emit, accounts: Accounts
) -> tuple[int, api.Workplace]:
    with accounts.kept():
        made, workplace = _make_all(root, arguments, console, emit)
        accounts.give(made.account)
    return made.code, workplace


def _make_all(
    root: Path, arguments: argparse.Namespace, console: Console, emit: Emit
) -> tuple[api.Made, api.Workplace]:
    with Pool(worker_environment()) as pool:
        if not arguments.dry_run:
            pool.prepare(PRELOAD)  # the stamp knows no answer, so that some stage will most likely run
        return _open_and_make(root, arguments, console, emit, pool)


def _open_and_make(
    root: Path, arguments: argparse.Namespace, console: Console, emit: Emit, pool: Pool
) -> tuple[api.Made, api.Workplace]:
    from onnxbuild import api
    from onnxbuild.engine.options import Options
    from onnxbuild.targets.evidence import file_clock

    began = file_clock(root) if not arguments.dry_run else 0
    chosen = stamp.selection(arguments.targets, strict=arguments.strict)
    whole = ("dry_run", "force", "remeasure", "rerun", "watch", "check_determinism", "locked")
    if any(getattr(arguments, name) for name in whole) or Accounts.are_wanted(arguments):
        workplace = api.open_project(root, arguments.targets)
    else:
        workplace = api.open_changed(root, arguments.targets, chosen)
    console.diagnose(workplace.warnings)
    jobs = arguments.jobs if arguments.jobs is not None else workplace.project.jobs or stamp.cores()
    if jobs < 1:
        raise UserError(Diagnostic(code="jobs", message=f"-j takes a number of at least 1, not {jobs}"))
    options = Options(
        jobs=jobs,
        keep_going=arguments.keep_going,
        dry_run=arguments.dry_run,
        force=arguments.force,
        remeasure=arguments.remeasure,
        rerun=frozenset(arguments.rerun),
        limits=workplace.project.limits,
    )
    with console.live():
        made = api.make(
            workplace,
            options,
            emit,
            strict=arguments.strict,
            locked=arguments.locked,
            rebuild=arguments.check_determinism,
            began=began,
            pool=pool,
        )
    if made.again is not None:
        _write_stamp(root, chosen, made.again, workplace.warnings, made.code)
    return made, workplace


def _write_stamp(
    root: Path, chosen: tuple[str, ...], again: api.NoOp, warnings: Sequence[Diagnostic], code: int
) -> None:
    """Leave what an equal make needs to see that nothing differs, and all that it would then tell."""
    from onnxbuild.making import NO_OP_SECONDS
    from onnxbuild.targets.kept import write_kept

    file = stamp.path_of(str(root), chosen)
    if file is None:
        return
    told = {}
    shown = format_duration(NO_OP_SECONDS)
    for quiet, coloured in itertools.product((False, True), repeat=2):
        out, err = transcript(again.events, warnings, quiet=quiet, coloured=coloured)
        told["out", quiet, coloured] = out.replace(shown, stamp.PLACEHOLDER)
        told["err", quiet, coloured] = err
    lines = b"".join(msgspec.json.encode(event) + b"\n" for event in again.events).decode()
    events = lines.replace(msgspec.json.encode(NO_OP_SECONDS).decode(), stamp.PLACEHOLDER)
    found = again.evidence
    made = stamp.Stamp(chosen, found.environment, found.files, found.folders, found.stores, told, events, code)
    data = made.encode()
    with suppress(OSError):  # all is built; without a stamp the next make looks again
        write_atomically(Path(file), data)
        write_kept(root, chosen, data, again.files, again.groups)


@contextmanager
def _listeners(arguments: argparse.Namespace, console: Console) -> Iterator[Emit]:
    """Yield a function that tells the console and, as JSON lines, the events' file."""
    events: str | None = arguments.events
    if events is None:
        yield console.hear
        return
    if events == "-":
        console.out = sys.stderr
        yield _both(console, sys.stdout.fileno())
        return
    try:
        file = Path(arguments.directory, events).open("wb")  # noqa: SIM115  # closed below
    except OSError as error:
        message = f"--events {events} cannot be written: {error.strerror}"
        raise UserError(Diagnostic(code="events", message=message)) from None
    with file:
        yield _both(console, file.fileno())


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _both(console: Console, descriptor: int) -> Emit:
    def emit(event: Event) -> None:
        _write_all(descriptor, event.lines if isinstance(event, Retold) else msgspec.json.encode(event) + b"\n")
        console.hear(event)

    return emit
