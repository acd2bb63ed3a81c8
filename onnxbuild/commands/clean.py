"""`onnxbuild clean`: delete what was built."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from onnxbuild import api
from onnxbuild.console import Console
from onnxbuild.recipe.load import load_recipes
from onnxbuild.recipe.project import find_root, load_project
from onnxbuild.recipe.select import matches
from onnxbuild.store.store import PARTS
from onnxbuild.targets.deliver import is_delivery
from onnxbuild.targets.stale import stale_deliveries

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
        folders = _chosen(root, arguments.targets)
    else:
        project = load_project(root)
        folders = [*_delivered(root / project.output), *_drawn(root / project.reports)]
        if arguments.all:
            store = (root / project.store).resolve()
            folders += [*_whole(root / ".onnxbuild"), *(_stored(store) if root in store.parents else [])]
    for folder in folders:
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        elif folder.exists() or folder.is_symlink():
            folder.unlink()
        else:
            continue
        console.say(f"deleted {folder.relative_to(root)}")
    return 0


def _chosen(root: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the folders of targets by pattern, those of targets that no recipe has any more among them.

    With a recipe's last delivery go its pages, where the recipe is gone too.
    """
    project = load_project(root)
    loaded = load_recipes(project, files=False)
    variants: dict[str, list[str] | None] = dict.fromkeys(loaded.order)
    variants |= {recipe.name: [target.variant for target in recipe.targets] for recipe in loaded.recipes}
    output, reports = root / project.output, root / project.reports
    stale = [*stale_deliveries(output, variants)]
    chosen = [(recipe, variant) for recipe, variant in stale if any(matches(p, recipe, variant) for p in patterns)]
    folders = [output / recipe / variant for recipe, variant in chosen]
    left = {recipe for recipe, variant in stale if (recipe, variant) not in chosen}
    gone = dict.fromkeys(recipe for recipe, _ in chosen if recipe not in variants and recipe not in left)
    folders += [page for page in _drawn(reports) if page.stem in gone]
    folders += [output / recipe for recipe in gone if {*(output / recipe).iterdir()} <= {*folders}]
    hits = {p for p in patterns if any(matches(p, recipe, variant) for recipe, variant in chosen)}
    live = [(recipe, variant) for recipe, names in variants.items() for variant in (names or (None,))]
    rest = [p for p in patterns if p not in hits or any(matches(p, recipe, variant) for recipe, variant in live)]
    if rest:
        workplace = api.open_project(root, rest)
        folders += [output / name.replace(":", "/") for name in workplace.selected]
    return folders


def _delivered(output: Path) -> list[Path]:
    """Return the targets' folders below `output`, or `output` when there is nothing else: what is not ours stays."""
    if not output.is_dir():
        return []
    ours = [folder for folder in output.glob("*/*/") if is_delivery(folder)]
    ours += [folder for pattern in ("*/.*.new.*", "*/.*.old.*") for folder in output.glob(pattern)]
    files = (file for file in output.rglob("*") if file.is_symlink() or not file.is_dir())
    return _whole(output) if all(set(ours) & set(file.parents) for file in files) else sorted(ours)


def _whole(folder: Path) -> list[Path]:
    """Return a folder, or all that is in it where it is a link to another place: the link stays."""
    return sorted(folder.iterdir()) if folder.is_symlink() and folder.is_dir() else [folder]


def _stored(store: Path) -> list[Path]:
    """Return the store, or its parts when something else lies beside them."""
    parts = [part for name in PARTS if (part := store / name).is_dir()]
    return [store] if store.is_dir() and set(store.iterdir()) == set(parts) else parts


def _drawn(reports: Path) -> list[Path]:
    """Return the drawn pages and their twins; what people put beside them stays."""
    pages = [page for page in reports.glob("*.html") if page.with_suffix(".json").exists()]
    return sorted([*pages, *(page.with_suffix(".json") for page in pages)])
