"""`onnxbuild check`: everything that files tell about the recipes, without running anything."""

from __future__ import annotations

import argparse
from pathlib import Path

from onnxbuild import api
from onnxbuild.base.codec import encode
from onnxbuild.base.diagnostics import Severity
from onnxbuild.console import Console
from onnxbuild.recipe.project import find_root

EXAMPLES = """\
examples:
  onnxbuild check                      all recipes
  onnxbuild check digits-cnn           one recipe
  onnxbuild check --format json        for editors and scripts
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="<recipe> or <recipe>:<variant>, * and ? match")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how to print what is wrong")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Check and return 0, or 2 when a recipe is wrong."""
    found = api.check(find_root(Path(arguments.directory)), arguments.targets)
    if arguments.format == "json":
        console.print(encode(found).decode())
    else:
        console.diagnose(found)
    errors = sum(diagnostic.severity is Severity.ERROR for diagnostic in found)
    if arguments.format == "text" and not errors:
        console.say("The recipes are well formed.")
    return 2 if errors else 0
