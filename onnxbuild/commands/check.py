"""`onnxbuild check`: everything that files tell about the recipes, without running anything."""

from __future__ import annotations

import argparse
from pathlib import Path

from onnxbuild import __version__, api
from onnxbuild.base.annotations import prefix_of
from onnxbuild.base.codec import encode
from onnxbuild.base.diagnostics import Severity
from onnxbuild.base.sarif import sarif_log
from onnxbuild.console import Console
from onnxbuild.recipe.codes import CODES
from onnxbuild.recipe.project import find_root

EXAMPLES = """\
examples:
  onnxbuild check                      all recipes
  onnxbuild check digits-cnn           one recipe
  onnxbuild check --format json        for editors and scripts
  onnxbuild check --format github      annotations on the lines of a pull request
  onnxbuild check --format sarif       for code scanning
"""

FORMATS = ("text", "json", "github", "sarif")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="<recipe> or <recipe>:<variant>, * and ? match")
    parser.add_argument("--format", choices=FORMATS, default="text", help="how to print what is wrong")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Check and return 0, or 2 when a recipe is wrong."""
    root = find_root(Path(arguments.directory))
    found = api.check(root, arguments.targets)
    match arguments.format:
        case "json":
            console.print(encode(found).decode())
        case "sarif":
            console.print(encode(sarif_log(found, CODES, __version__, prefix_of(root))).decode())
        case "github":
            console.annotate(found, prefix_of(root))
        case _:
            console.diagnose(found)
    errors = sum(diagnostic.severity is Severity.ERROR for diagnostic in found)
    if arguments.format == "text" and not errors:
        console.say("The recipes are well formed.")
    return 2 if errors else 0
