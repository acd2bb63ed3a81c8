"""`onnxbuild clean`: delete what was built."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from onnxbuild import api
from onnxbuild.console import Console
from onnxbuild.recipe.project import find_root, load_project
from onnxbuild.store.store import PARTS
from onnxbuild.targets.deliver import is_manifest

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
        folders = [*_delivered(root / project.output), *_drawn(root / project.reports)]
        if arguments.all:
            store = (root / project.store).resolve()
            folders += [root / ".onnxbuild", *(_stored(store) if root in store.parents else [])]
    for folder in folders:
        if folder.is_dir():
            shutil.rmtree(folder)
        elif folder.exists():
            folder.unlink()
        else:
            continue
        console.say(f"deleted {folder.relative_to(root)}")
    return 0


def _delivered(output: Path) -> list[Path]:
    """Return the targets' folders below `output`, or `output` when there is nothing else: what is not ours stays."""
    ours = [file.parent for file in output.glob("*/*/manifest.json") if is_manifest(file)]
    ours += [folder for pattern in ("*/.*.new.*", "*/.*.old.*") for folder in output.glob(pattern)]
    files = (file for file in output.rglob("*") if not file.is_dir())
    return [output] if all(set(ours) & set(file.parents) for file in files) else sorted(ours)


def _stored(store: Path) -> list[Path]:
    """Return the store, or its parts when something else lies beside them."""
    parts = [part for name in PARTS if (part := store / name).is_dir()]
    return [store] if store.is_dir() and set(store.iterdir()) == set(parts) else parts


def _drawn(reports: Path) -> list[Path]:
    """Return the drawn pages and their twins; what people put beside them stays."""
    pages = [page for page in reports.glob("*.html") if page.with_suffix(".json").exists()]
    return sorted([*pages, *(page.with_suffix(".json") for page in pages)])
