"""`onnxbuild report`: draw the reports from what was built."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from onnxbuild import api
from onnxbuild.console import Console
from onnxbuild.recipe.project import find_root

EXAMPLES = """\
examples:
  onnxbuild report                     draw reports/index.html and a page for each recipe
  onnxbuild report --open              and show the index in a browser
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--open", action="store_true", help="show the index in a browser, where there is a display")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Draw and return 0."""
    root = find_root(Path(arguments.directory))
    index = api.report(api.open_project(root))
    console.print(index)
    if arguments.open and not _show(root / index):
        console.say("There is no browser here that could show it.")
    return 0


def _show(page: Path) -> bool:
    """Open a page in a browser; False where there is no display or no browser."""
    import webbrowser  # it looks for browsers when it is imported

    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "BROWSER" in os.environ and webbrowser.open(page.as_uri())
    return webbrowser.open(page.as_uri())
