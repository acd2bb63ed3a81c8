"""Layers of a recipe laid over one another: defaults, recipe, variant; every value keeps the place that wrote it."""

from __future__ import annotations

from onnxbuild.recipe.examine import FREE
from onnxbuild.recipe.node import Entry, Node

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


def merge(base: Node, over: Node, *, free: bool = False) -> Node:
    """Return `over` laid over `base`: mappings by key, all else replaced, null removes. Inherited keys come first.

    Below `args` and the like (`free`) nothing displaces anything, and a null with nothing to remove is a value.
    """
    entries = dict(base.entries)
    if not free:
        for key in over.entries:
            for displaced in DISPLACES.get(key, ()):
                if over.entries[key].node.value is not None and displaced in entries:
                    del entries[displaced]
    for key, entry in over.entries.items():
        inherited = entries.get(key)
        inner_free = free or key in FREE
        if entry.node.value is None:
            if inherited is not None or not free:
                entries.pop(key, None)
            else:
                entries[key] = entry
        elif isinstance(entry.node.value, dict):
            below = (
                inherited.node if inherited is not None and isinstance(inherited.node.value, dict) else _nothing(entry)
            )
            entries[key] = Entry(entry.place, merge(below, entry.node, free=inner_free))
        else:
            entries[key] = entry
    return Node(entries, over.place)


def _nothing(entry: Entry) -> Node:
    return Node({}, entry.node.place)
