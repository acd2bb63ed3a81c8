"""`onnxbuild report`: draw the reports from what was built."""

from __future__ import annotations

import argparse
from pathlib import Path

from onnxbuild import api
from onnxbuild.console import Console
from onnxbuild.recipe.project import find_root

EXAMPLES = """\
examples:
  onnxbuild report                     draw reports/index.html and a page for each recipe
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Draw and return 0."""
    workplace = api.open_project(find_root(Path(arguments.directory)))
    console.print(api.report(workplace))
    return 0
