"""`onnxbuild get`: copy a target's model out of the store, also one that failed its gates."""

from __future__ import annotations

import argparse
from pathlib import Path

from onnxbuild import api
from onnxbuild.console import Console
from onnxbuild.recipe.project import find_root

EXAMPLES = """\
examples:
  onnxbuild get digits-cnn:int8 --out study     the model as it was measured, passed or not
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("target", metavar="TARGET", help="<recipe>:<variant>")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="the folder to write; it must not exist or be empty"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Copy the model and return 0."""
    workplace = api.open_project(find_root(Path(arguments.directory)), [arguments.target])
    file = api.get(workplace, Path(arguments.directory, arguments.out))
    console.say(f"wrote {file}")
    return 0
