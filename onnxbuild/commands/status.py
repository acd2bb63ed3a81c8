"""`onnxbuild status`: what make would do, target by target."""

from __future__ import annotations

import argparse
from pathlib import Path

from onnxbuild import api
from onnxbuild.base.codec import encode
from onnxbuild.base.units import format_duration
from onnxbuild.console import Console
from onnxbuild.recipe.project import find_root
from onnxbuild.targets.standing import ActionStanding, Standing, TargetStanding

EXAMPLES = """\
examples:
  onnxbuild status                     all targets
  onnxbuild status digits-cnn:int8 -v  one target, also what is up to date or waits
  onnxbuild status --format json       for scripts
"""

WORDS = {"run": "to run", "restore": "to restore", "waits": "waiting", "blocked": "blocked", "up-to-date": "up to date"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="<recipe> or <recipe>:<variant>, * and ? match")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how to print it")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print how things stand and return 0."""
    workplace = api.open_project(find_root(Path(arguments.directory)), arguments.targets)
    console.diagnose(workplace.warnings)
    found = api.status(workplace)
    if arguments.format == "json":
        console.print(encode(found).decode())
        return 0
    for line in _lines(found, everything=arguments.verbose):
        console.print(line)
    return 0


def _lines(found: Standing, *, everything: bool) -> list[str]:
    lines = [_target(target) for target in found.targets]
    shown = [action for action in found.actions if everything or action.decision.value not in ("up-to-date", "waits")]
    return [*lines, *([""] if shown else []), *(_action(action) for action in shown)]


def _target(target: TargetStanding) -> str:
    if set(target.decisions) == {"up-to-date"}:
        return f"{target.target:32} up to date, {target.verdict}"
    count = ", ".join(f"{number} {WORDS[kind]}" for kind, number in target.decisions.items())
    about = f", about {format_duration(target.estimate)}" if target.estimate else ""
    verdict = f"; {target.verdict}" if target.verdict is not None else ""
    return f"{target.target:32} {count}{about}{verdict}"


def _action(action: ActionStanding) -> str:
    about = f"~{format_duration(action.estimate)}" if action.estimate is not None else ""
    why = "; ".join(action.reasons) or (f"on {', '.join(action.on)}" if action.on else "")
    return f"{action.decision.value:10} {action.action:44} {about:>8}  {why}".rstrip()
