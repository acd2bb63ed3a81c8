"""One recipe file to its targets, with everything that is wrong with it; runs no user code and loads no framework."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from onnxbuild.base.diagnostics import Place
from onnxbuild.recipe.build import build_target
from onnxbuild.recipe.checks import FileChecks, check_contract
from onnxbuild.recipe.draft import Draft
from onnxbuild.recipe.examine import examine
from onnxbuild.recipe.lock import Lock, lock_path, read_lock
from onnxbuild.recipe.merge import merge
from onnxbuild.recipe.node import Node, find, key_place, plain
from onnxbuild.recipe.problems import Problems
from onnxbuild.recipe.raw import NAME, RawRecipe
from onnxbuild.recipe.rebase import rebase
from onnxbuild.recipe.refuse import refuse_keys
from onnxbuild.recipe.settings import Defaults
from onnxbuild.recipe.types import ReadRecipe, Target
from onnxbuild.recipe.yaml import load_yaml

DEFAULT_VARIANT = "default"


def read_recipe(path: Path, root: Path, defaults: Defaults, checks: FileChecks | None) -> tuple[ReadRecipe, Problems]:
    """Read one recipe of the project at `root`; `checks` also looks at the files that it names."""
    file = path.relative_to(root).as_posix()
    problems = Problems()
    start = Place(file, 1, 1)
    node = load_yaml(path, file, problems)
    if node is None:
        return ReadRecipe(path.stem, file, start, "", None, ()), problems
    examined = examine(node, RawRecipe, problems)
    broken = examined.broken | defaults.broken | refuse_keys(examined.root, problems)
    raw = msgspec.convert(plain(examined.root), RawRecipe)
    if raw.format is None and "format" not in broken:
        hint = "add `format: 1` as the first line"
        problems.error("missing-key", "the key 'format' is missing", examined.root.place, hint=hint)
    name, name_place = _name(raw, path, examined.root, problems)
    targets = []
    base = merge(rebase(defaults.node, os.path.relpath(root, path.parent)), _without_variants(examined.root))
    base = Node(base.entries, examined.root.place)
    layers = _variants(examined.root)
    for variant, layer in layers.items():
        merged = merge(base, layer) if layer is not None else base
        merged = Node(merged.entries, key_place(examined.root, ("variants", variant)) if layer else base.place)
        target_raw = msgspec.convert(plain(merged), RawRecipe)
        draft = Draft(merged, target_raw, problems, set(broken))
        target = build_target(draft, name, variant, file)
        unusable = frozenset(draft.broken)
        check_contract(draft, target, tuple(layers), unusable)
        if checks is not None:
            checks.check(draft, target, unusable)
        targets.append(target)
    if checks is not None:
        beside = lock_path(file)
        checks.seen[beside] = None
        lock = read_lock(root, beside, problems, layers)
        targets = [_with_choice(target, lock) for target in targets]
    return ReadRecipe(name, file, name_place, raw.description or "", tuple(layers), tuple(targets)), problems


def _with_choice(target: Target, lock: Lock) -> Target:
    accepted = lock.get(target.variant)
    if accepted is None:
        return target
    return msgspec.structs.replace(target, locked=accepted.choice, sessions=accepted.sessions)


def _name(raw: RawRecipe, path: Path, root: Node, problems: Problems) -> tuple[str, Place]:
    if raw.name is not None:
        return raw.name, key_place(root, ("name",))
    if not re.match(NAME, path.stem) and find(root, ("name",)) is None:
        message = f"the file's name '{path.stem}' cannot be the recipe's name"
        note = "names are of a-z, 0-9, '.', '_' and '-', begin with a letter or digit, and are not 'index'"
        problems.error("wrong-name", message, root.place, note=note, hint="add a `name`, or rename the file")
    return path.stem, root.place


def _without_variants(node: Node) -> Node:
    return Node({key: entry for key, entry in node.entries.items() if key != "variants"}, node.place)


def _variants(root: Node) -> dict[str, Node | None]:
    """Return the layer of each variant; a variant that is null changes nothing."""
    variants = find(root, ("variants",))
    if variants is None or not variants.entries:
        return {DEFAULT_VARIANT: None}
    return {
        name: entry.node if isinstance(entry.node.value, dict) else None for name, entry in variants.entries.items()
    }
