"""`onnxbuild accept`: what targets came to becomes the lock that reviews and later makes refer to."""

from __future__ import annotations

import argparse
from pathlib import Path

from onnxbuild import api
from onnxbuild.base.diagnostics import Diagnostic, UserError
from onnxbuild.console import Console
from onnxbuild.recipe.project import find_root

EXAMPLES = """\
examples:
  onnxbuild accept digits-cnn                       every variant of a recipe
  onnxbuild accept digits-cnn:int8 --waive size --reason 'the kiosk has room'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="<recipe> or <recipe>:<variant>, * and ? match")
    parser.add_argument(
        "--waive", action="append", default=[], metavar="GATE", help="accept although this gate failed; needs --reason"
    )
    parser.add_argument("--reason", metavar="TEXT", help="why what failed is accepted; the lock keeps it")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Write the locks and return 0."""
    if bool(arguments.waive) != bool((arguments.reason or "").strip()):
        message = "--waive GATE and --reason TEXT belong together"
        raise UserError(Diagnostic(code="waiver", message=message))
    workplace = api.open_project(find_root(Path(arguments.directory)), arguments.targets)
    console.diagnose(workplace.warnings)
    for file in api.accept(workplace, tuple(arguments.waive), (arguments.reason or "").strip()):
        console.say(f"wrote {file}")
    return 0
