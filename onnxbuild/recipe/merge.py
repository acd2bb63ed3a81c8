"""Layers of a recipe laid over one another: defaults, recipe, variant; every value keeps the place that wrote it."""

from __future__ import annotations

from onnxbuild.recipe.examine import FREE
from onnxbuild.recipe.node import Entry, Node, Path

DISPLACES = {
    "path": ("factory", "args", "weights", "sha256", "trust"),
    "factory": ("path", "signature", "sha256", "trust"),
    "at_least": ("at_most", "max_drop"),
    "at_most": ("at_least", "max_drop"),
    "max_drop": ("at_least", "at_most"),
    "loader": ("random",),
    "random": ("loader", "args"),
}
"""A key, and the inherited keys beside it that it takes the place of, with all that belongs to them."""


def merge(base: Node, over: Node, path: Path = ()) -> Node:
    """Return `over` laid over `base`: mappings by key, all else replaced, null removes. Inherited keys come first.

    `path` is where both stand in a recipe. Below `args` and the like nothing displaces anything, and a null with
    nothing to remove is a value. A provider's tolerance keeps its nulls, for it is itself laid over the target's.
    """
    free = not FREE.isdisjoint(path)
    keeps_null = len(path) > 2 and path[0] == "providers" and path[2] == "tolerance"
    entries = dict(base.entries)
    if not free:
        for key, entry in over.entries.items():
            if entry.node.value is not None:
                for displaced in DISPLACES.get(key, ()):
                    entries.pop(displaced, None)
    for key, entry in over.entries.items():
        inherited = entries.get(key)
        if entry.node.value is None and not keeps_null and (inherited is not None or not free):
            entries.pop(key, None)
        elif isinstance(entry.node.value, dict):
            nothing = Node({}, entry.node.place)
            below = inherited.node if inherited is not None else nothing
            entries[key] = Entry(entry.place, merge(below, entry.node, (*path, key)))
        else:
            entries[key] = entry
    return Node(entries, over.place)
