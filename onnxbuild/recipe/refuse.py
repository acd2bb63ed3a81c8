"""Keys of the format that this version cannot do yet, each refused where it is written; knows nothing of merging."""

from __future__ import annotations

from collections.abc import Iterator

from onnxbuild.recipe.node import Node, Path, find, key_place
from onnxbuild.recipe.problems import Problems
from onnxbuild.recipe.wording import dotted

CODE = "not-in-this-version"

KEYS: tuple[Path, ...] = ()
"""Refused wherever written. A null, which only removes, is legal."""
PROJECT_KEYS: tuple[Path, ...] = (("remote",), ("trusted_keys",))


def refuse_keys(root: Node, problems: Problems, *, project: bool = False) -> set[str]:
    """Note every key and value that is not in this version; return the sections they stand in.

    `root` is a whole recipe, or (`project`) a whole onnxbuild.yaml.
    """
    sections = set()
    layers: list[Path] = [("defaults",)] if project else [()]
    variants = find(root, ("variants",))
    if not project and variants is not None:
        layers += [("variants", name) for name in variants.entries]
    refused: list[tuple[Path, Path]] = (
        [((), key) for key in PROJECT_KEYS if find(root, key) is not None] if project else []
    )
    for layer in layers:
        node = find(root, layer)
        refused += [(layer, path) for path in _refused(node)] if node is not None else []
    for layer, path in refused:
        node = find(root, (*layer, *path))
        if node is None or node.value is None:
            continue
        shown = "" if isinstance(node.value, dict | list) or path in KEYS else f": {node.value}"
        message = f"`{dotted(path)}`{shown} is not in this version of onnxbuild"
        problems.error(CODE, message, key_place(root, (*layer, *path)), hint="leave it out for now")
        sections.add(str(path[0]))
    return sections


def _refused(layer: Node) -> Iterator[Path]:
    """Yield the paths below one layer (a recipe, a variant, the defaults) that may be written but not used yet."""
    for key in KEYS:
        if find(layer, key) is not None:
            yield key
