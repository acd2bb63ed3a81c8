"""`onnxbuild explain`: why an action would run, or why it last ran."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from onnxbuild import api
from onnxbuild.base.codec import encode
from onnxbuild.base.units import format_duration
from onnxbuild.console import Console
from onnxbuild.recipe.project import find_root
from onnxbuild.targets.standing import Difference, Explanation, describe_model_difference

EXAMPLES = """\
examples:
  onnxbuild explain digits-cnn:int8                every action of a target
  onnxbuild explain digits-cnn/export              one action, as make and status name it
  onnxbuild explain digits-cnn --format json       for scripts
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("name", metavar="TARGET|ACTION", help="a target or pattern, or an action's name")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how to print it")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the explanations and return 0."""
    found = api.explain(find_root(Path(arguments.directory)), arguments.name)
    if arguments.format == "json":
        console.print(encode(found).decode())
        return 0
    for explanation in found:
        for line in _lines(explanation):
            console.print(line)
    return 0


def _lines(explanation: Explanation) -> Iterator[str]:
    stands, last = explanation.standing, explanation.last
    why = "; ".join(stands.reasons) or (f"on {', '.join(stands.on)}" if stands.on else "")
    yield f"{stands.action}: {stands.decision.value}" + (f": {why}" if why else "")
    yield from _changes(explanation.changes)
    if last is not None:
        yield f"  last ran {last.made} ({format_duration(last.seconds)}): {'; '.join(last.reasons)}"
        yield from _changes(last.changes)


def _changes(changes: Iterable[Difference]) -> Iterator[str]:
    for difference in changes:
        change = difference.change
        yield f"    {change.component}  {change.name}".rstrip()
        yield f"      old  {_shown(change.old)}"
        yield f"      new  {_shown(change.new)}"
        if difference.model is not None:
            yield f"      {describe_model_difference(difference.model)}"


def _shown(value: str | None) -> str:
    return "nothing" if value is None else value
