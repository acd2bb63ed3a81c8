"""Paths written in onnxbuild.yaml, made relative to the folder of the recipe that inherits them."""

from __future__ import annotations

import posixpath
from pathlib import PurePath

from onnxbuild.recipe.node import Entry, Node, Path
from onnxbuild.recipe.wording import is_url

PATHS: tuple[Path, ...] = (
    ("source", "factory"),
    ("source", "weights"),
    ("source", "path"),
    ("source", "reads", "*"),
    ("calibration", "data"),
    ("calibration", "data", "loader"),
    ("evaluation", "data"),
    ("evaluation", "data", "loader"),
    ("evaluation", "metric", "custom"),
    ("passes", "*", "custom", "function"),
)
"""Every key of the format that holds a path or a `file.py:name`; `*` is any index. `check` reads the same files."""


def rebase(defaults: Node, way: str) -> Node:
    """Return the defaults with each path seen from a folder from which `way` leads to that of onnxbuild.yaml."""
    way = PurePath(way).as_posix()
    return _rebase(defaults, way, PATHS) if way != "." else defaults


def _rebase(node: Node, way: str, paths: tuple[Path, ...]) -> Node:
    if isinstance(node.value, str):
        text = node.value
        if () not in paths or is_url(text) or text.startswith(("/", "~")):
            return node
        return Node(posixpath.normpath(posixpath.join(way, text)), node.place)
    if isinstance(node.value, dict):
        entries = {key: Entry(e.place, _rebase(e.node, way, _below(paths, key))) for key, e in node.entries.items()}
        return Node(entries, node.place)
    if isinstance(node.value, list):
        return Node([_rebase(item, way, _below(paths, "*")) for item in node.items], node.place)
    return node


def _below(paths: tuple[Path, ...], step: str) -> tuple[Path, ...]:
    return tuple(path[1:] for path in paths if path and path[0] == step)
