"""The command line: one table of verbs, each in a file of its own that is imported only when it is called."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path

from onnxbuild import __version__
from onnxbuild.base.disk import describe_refusal
from onnxbuild.commands.table import VERBS

EXAMPLES = """\
examples:
  onnxbuild init                     start a project with one recipe
  onnxbuild make                     build everything that is not up to date
  onnxbuild make digits-cnn:int8     build one target
  onnxbuild check                    is every recipe well formed?
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 failed, 2 wrong call or recipe, 3 our bug, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(_parser(given).parse_args(given))
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 2
    except KeyboardInterrupt:
        print("onnxbuild: interrupted; everything that was finished is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  # whoever read us is gone
        return 0
    except OSError as error:
        if (reason := describe_refusal(error)) is None:
            return _report_bug(error, given)
        print(f"onnxbuild: {reason}; everything that was finished is kept", file=sys.stderr)
        return 1
    except Exception as error:
        return _report_bug(error, given)


def _run(chosen: argparse.Namespace) -> int:
    from onnxbuild.base.diagnostics import UserError
    from onnxbuild.console import Console

    console = Console(quiet=chosen.quiet, verbose=chosen.verbose)
    if sys.platform not in ("linux", "darwin"):
        print(f"onnxbuild: runs on Linux and macOS, not on {sys.platform}", file=sys.stderr)
        return 2
    command = importlib.import_module(f"onnxbuild.commands.{chosen.verb}")
    try:
        code = command.run(chosen, console)
    except UserError as error:
        console.diagnose(error.diagnostics)
        return 2
    return int(code)


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """Build the parser, with the arguments of just the verb that was given."""
    parser = argparse.ArgumentParser(
        prog="onnxbuild",
        description="A declarative, incremental build system for ONNX models.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"onnxbuild {__version__}")
    _common(parser, suppress=False)
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    wanted = _verb(given)
    for verb, summary in VERBS.items():
        sub = verbs.add_parser(
            verb,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _common(sub, suppress=True)
        if verb == wanted:
            command = importlib.import_module(f"onnxbuild.commands.{verb}")
            command.add_arguments(sub)
            sub.epilog = command.EXAMPLES
    return parser


def _verb(given: Sequence[str]) -> str | None:
    """Return the verb among the arguments; leaves with a suggestion when the first word is none."""
    words = iter(given)
    for word in words:
        if word == "-C":
            next(words, None)
        elif not word.startswith("-"):
            if word in VERBS:
                return word
            near = get_close_matches(word, VERBS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "onnxbuild --help lists them"
            print(f"onnxbuild: there is no command '{word}'; {hint}", file=sys.stderr)
            raise SystemExit(2)
    return None


def _common(parser: argparse.ArgumentParser, *, suppress: bool) -> None:
    def default(value: object) -> object:
        return argparse.SUPPRESS if suppress else value

    parser.add_argument("-C", dest="directory", metavar="DIR", default=default("."), help="work as if started in DIR")
    parser.add_argument("-q", "--quiet", action="store_true", default=default(False), help="only problems and verdicts")
    parser.add_argument("-v", "--verbose", action="store_true", default=default(False), help="also what was up to date")


def _report_bug(error: Exception, given: Sequence[str]) -> int:
    """Write the traceback to a log and say where it is: everything that gets here is our bug."""
    import tempfile

    handle, name = tempfile.mkstemp(prefix="onnxbuild-bug-", suffix=".log")
    with os.fdopen(handle, "w") as log:
        log.write(f"onnxbuild {__version__}, Python {sys.version}\n{datetime.now(UTC).isoformat()}\n{list(given)}\n")
        traceback.print_exception(error, file=log)
    print(f"onnxbuild: internal error: {type(error).__name__}: {error}", file=sys.stderr)
    print(f"  This is a bug in onnxbuild; the traceback is in {Path(name)}", file=sys.stderr)
    return 3
