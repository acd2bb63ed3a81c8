"""`onnxbuild clean`: delete what was built."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from onnxbuild import api
from onnxbuild.console import Console
from onnxbuild.recipe.project import find_root, load_project

EXAMPLES = """\
examples:
  onnxbuild clean                      delete build/ and the drawn reports; the cache stays, so make restores
  onnxbuild clean digits-cnn:int8      delete one target's folder
  onnxbuild clean --all                the cache too: the next make builds everything
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="<recipe> or <recipe>:<variant>, * and ? match")
    parser.add_argument(
        "--all", action="store_true", help="also the cache and the logs (not a store outside the project)"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Delete and return 0."""
    root = find_root(Path(arguments.directory))
    if arguments.targets:
        workplace = api.open_project(root, arguments.targets)
        folders = [root / workplace.project.output / name.replace(":", "/") for name in workplace.selected]
    else:
        project = load_project(root)
        folders = [root / project.output, *_drawn(root / project.reports)]
        if arguments.all:
            folders.append(root / ".onnxbuild")
    for folder in folders:
        if folder.is_dir():
            shutil.rmtree(folder)
        elif folder.exists():
            folder.unlink()
        else:
            continue
        console.say(f"deleted {folder.relative_to(root)}")
    return 0


def _drawn(reports: Path) -> list[Path]:
    """Return the drawn pages and their twins; what people put beside them stays."""
    pages = [page for page in reports.glob("*.html") if page.with_suffix(".json").exists()]
    return sorted([*pages, *(page.with_suffix(".json") for page in pages)])
