"""A YAML document as a tree that remembers where each key and value was written; knows nothing of recipes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from onnxbuild.base.diagnostics import Place

Scalar = None | bool | int | float | str
Step = str | int
Path = tuple[Step, ...]
"""The way from a document's root to a node: keys of mappings and indices of sequences."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping, where the key stands, and its value."""

    place: Place
    node: Node


@dataclass(frozen=True, slots=True)
class Node:
    """A scalar, a sequence of nodes or a mapping of entries, and where it begins. Never changed: layers share nodes."""

    value: Scalar | list[Node] | dict[str, Entry]
    place: Place

    @property
    def entries(self) -> dict[str, Entry]:
        """The entries of a mapping; empty for any other node."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The nodes of a sequence; empty for any other node."""
        return self.value if isinstance(self.value, list) else []


def plain(node: Node) -> Any:
    """Return the node as dictionaries, lists and scalars."""
    value = node.value
    if isinstance(value, dict):
        return {key: plain(entry.node) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def find(node: Node, path: Path) -> Node | None:
    """Return the node at `path`, or None where the document has none."""
    for step in path:
        if isinstance(step, str):
            entry = node.entries.get(step)
            if entry is None:
                return None
            node = entry.node
        elif step < len(node.items):
            node = node.items[step]
        else:
            return None
    return node


def value_place(node: Node, path: Path) -> Place:
    """Return where the value at `path` begins, or where its nearest written ancestor does."""
    while path:
        found = find(node, path)
        if found is not None:
            return found.place
        path = path[:-1]
    return node.place


def key_place(node: Node, path: Path) -> Place:
    """Return where the key of `path` stands (an item of a sequence: its value), or its nearest written ancestor's."""
    while path:
        parent, last = find(node, path[:-1]), path[-1]
        if parent is not None:
            if isinstance(last, str) and last in parent.entries:
                return parent.entries[last].place
            if isinstance(last, int) and last < len(parent.items):
                return parent.items[last].place
        path = path[:-1]
    return node.place


def walk(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Yield every node with its path, parents first."""
    yield path, node
    for key, entry in node.entries.items():
        yield from walk(entry.node, (*path, key))
    for index, item in enumerate(node.items):
        yield from walk(item, (*path, index))


def without(node: Node, path: Path) -> Node:
    """Return the tree less the node at `path`; later items of a sequence keep their index, so an item becomes null."""
    head, rest = path[0], path[1:]
    if isinstance(head, int):
        items = list(node.items)
        items[head] = without(items[head], rest) if rest else Node(None, items[head].place)
        return Node(items, node.place)
    entries = dict(node.entries)
    if rest:
        entries[head] = Entry(entries[head].place, without(entries[head].node, rest))
    else:
        del entries[head]
    return Node(entries, node.place)


def renamed(node: Node, path: Path, key: str) -> Node:
    """Return the tree with the last key of `path` called `key`."""
    head, rest = path[0], path[1:]
    if isinstance(head, int):
        items = list(node.items)
        items[head] = renamed(items[head], rest, key)
        return Node(items, node.place)
    entries = {
        key if name == head and not rest else name: (
            Entry(entry.place, renamed(entry.node, rest, key)) if name == head and rest else entry
        )
        for name, entry in node.entries.items()
    }
    return Node(entries, node.place)


def places(node: Node) -> dict[str, Place]:
    """Return where everything was written, by dotted path: scalars by their value, all else by its key."""
    found: dict[str, Place] = {}

    def visit(node: Node, path: str, key: Place | None) -> None:
        value = node.value
        if path:
            found[path] = key if key is not None and isinstance(value, dict | list) else node.place
        prefix = f"{path}." if path else ""
        if isinstance(value, dict):
            for name, entry in value.items():
                visit(entry.node, prefix + name, entry.place)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                visit(item, f"{prefix}{index}", None)

    visit(node, "", None)
    return found
