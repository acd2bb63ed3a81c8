"""Strict YAML: one document of plain data, each key and value with its place; knows nothing of what a recipe may say.

Built from parser events and not from PyYAML's composer, so that depth, aliases and size are bounded while reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from onnxbuild.base.diagnostics import Place
from onnxbuild.recipe.node import Entry, Node
from onnxbuild.recipe.problems import Problems
from onnxbuild.recipe.scalars import resolve

MOST_BYTES = 1_000_000
MOST_DEPTH = 40
MOST_ALIASES = 20
MOST_NODES = 50_000

_EMPTY = "write in it what it is for, or delete it"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_WORDING = {
    "mapping values are not allowed": ("a ':' where no key can stand", "quote a text that has ': ' in it"),
    "did not find expected ',' or '}'": ("a '{' is not closed, or a ',' is missing", None),
    "expected ',' or '}'": ("a '{' is not closed, or a ',' is missing", None),
    "did not find expected ',' or ']'": ("a '[' is not closed, or a ',' is missing", None),
    "expected ',' or ']'": ("a '[' is not closed, or a ',' is missing", None),
    "did not find expected key": ("this line does not fit the mapping it is in", "check the indentation"),
    "did not find expected '-' indicator": ("this line does not fit the list it is in", "check the indentation"),
    "could not find expected ':'": ("a key without ':'", None),
    "unexpected end of stream": ("a quoted text is not closed", None),
    "cannot start any token": ("this character cannot begin a value", "quote the text"),
}


class _StoppedError(Exception):
    """What was read cannot go on; the problem is already noted."""


def load_yaml(path: Path, name: str, problems: Problems) -> Node | None:
    """Read the file at `path`, called `name` in messages; return None after noting what is wrong with it as a whole."""
    start = Place(name, 1, 1)
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        problems.error("unreadable-file", f"{name} cannot be read: {error.strerror}", start)
        return None
    if len(data) > MOST_BYTES:
        problems.error("file-too-large", f"{name} has more than {MOST_BYTES} bytes; this is no recipe", start)
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        place = Place(name, before.count(b"\n") + 1, len(before) - before.rfind(b"\n"))
        problems.error("not-text", f"{name} is not UTF-8 text", place, hint="save it as UTF-8")
        return None
    node = parse_yaml(text, name, problems)
    if node is not None and not isinstance(node.value, dict):
        kind = "a list" if isinstance(node.value, list) else "a single value"
        problems.error("wrong-type", f"{name} must be a mapping of keys, not {kind}", node.place)
        return None
    return node


def parse_yaml(text: str, name: str, problems: Problems) -> Node | None:
    """Return the document in `text`, or None after noting why there is none. Values that are refused become null."""
    problems.add_text(name, text)
    reader = _Reader(text, name, problems)
    try:
        return reader.document()
    except _StoppedError:
        return None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(name, before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"{name} holds the control character {error.character!r}; this is no text file"
        problems.error("not-text", message, place)
    except yaml.MarkedYAMLError as error:
        _explain(error, text, name, problems)
    return None


def _explain(error: yaml.MarkedYAMLError, text: str, name: str, problems: Problems) -> None:
    mark = error.problem_mark or error.context_mark
    place = Place(name, mark.line + 1, mark.column + 1) if mark is not None else Place(name, 1, 1)
    problem = error.problem or "not YAML"
    if "tab" in problem or (mark is not None and text[mark.index : mark.index + 1] == "\t"):
        problems.error("yaml-tab", "a tab stands where YAML wants spaces", place, hint="indent with spaces")
        return
    message, hint = next((wording for words, wording in _WORDING.items() if words in problem), (problem, None))
    context = error.context_mark
    note = None
    if error.context and context is not None and context.line + 1 != place.line:
        note = f"{error.context}, begun on line {context.line + 1}"
    problems.error("yaml-syntax", message, place, note=note, hint=hint)


class _Reader:
    """Builds nodes from the parser's events, within bounds."""

    def __init__(self, text: str, name: str, problems: Problems) -> None:
        self._events: Iterator[Event] = iter(yaml.parse(text, Loader=_Loader))
        self._name = name
        self._problems = problems
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._aliases = 0
        self._nodes = 0

    def document(self) -> Node:
        next(self._events)  # the stream's start
        if not isinstance(next(self._events), DocumentStartEvent):
            raise self._stop("empty-file", f"{self._name} is empty", Place(self._name, 1, 1), hint=_EMPTY)
        first = next(self._events)
        if isinstance(first, ScalarEvent) and first.value == "" and first.implicit[0]:
            raise self._stop("empty-file", f"{self._name} is empty", Place(self._name, 1, 1), hint=_EMPTY)
        root = self._node(first, 1)
        next(self._events)  # the document's end
        after = next(self._events)
        if isinstance(after, DocumentStartEvent):
            raise self._stop("yaml-documents", "a second document begins here; a file holds one", self._place(after))
        return root

    def _node(self, event: Event, depth: int) -> Node:
        place = self._place(event)
        if isinstance(event, AliasEvent):
            return self._alias(event, place)
        self._count(1, place)
        before = self._nodes
        tag = getattr(event, "tag", None)
        if tag is not None:
            tag = str(tag).replace("tag:yaml.org,2002:", "!!")
            self._problems.error("yaml-tag", f"the tag {tag} is not allowed", place, hint="leave it out")
        if depth > MOST_DEPTH:
            raise self._stop("yaml-depth", f"values are nested more than {MOST_DEPTH} deep", place)
        if isinstance(event, ScalarEvent):
            node = Node(self._scalar(event, place), place)
        elif isinstance(event, SequenceStartEvent):
            node = Node(self._sequence(depth), place)
        else:
            node = Node(self._mapping(depth), place)
        if event.anchor is not None:  # type: ignore[attr-defined]  # every node event has one
            self._anchors[event.anchor] = (node, self._nodes - before + 1)  # type: ignore[attr-defined]
        return node

    def _scalar(self, event: ScalarEvent, place: Place) -> bool | int | float | str | None:
        if not event.implicit[0] or event.style in ("'", '"', "|", ">"):
            return str(event.value)
        try:
            return resolve(event.value)
        except ValueError as error:
            self._problems.error("wrong-number", str(error), place)
            raise _StoppedError from None

    def _sequence(self, depth: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        while isinstance(
            event := next(self._events), ScalarEvent | MappingStartEvent | SequenceStartEvent | AliasEvent
        ):
            key = self._node(event, depth + 1)
            node = self._node(next(self._events), depth + 1)
            self._insert(entries, key, node)
        return entries

    def _insert(self, entries: dict[str, Entry], key: Node, node: Node) -> None:
        name = key.value
        if not isinstance(name, str):
            kind = "a mapping or list" if isinstance(name, dict | list) else repr(name)
            hint = None if isinstance(name, dict | list) else "put it in quotes"
            self._problems.error("key-not-text", f"a key must be a text, not {kind}", key.place, hint=hint)
        elif name == "<<":
            hint = "use `defaults` of onnxbuild.yaml, or variants"
            self._problems.error("yaml-merge-key", "the merge key '<<' is not allowed", key.place, hint=hint)
        elif name in entries:
            first = entries[name].place
            message, note = f"the key '{name}' is written twice", f"first on line {first.line}"
            self._problems.error("duplicate-key", message, key.place, note=note, hint="keep one of the two")
        else:
            entries[name] = Entry(key.place, node)

    def _alias(self, event: AliasEvent, place: Place) -> Node:
        self._aliases += 1
        if self._aliases > MOST_ALIASES:
            raise self._stop("yaml-alias", f"more than {MOST_ALIASES} aliases in one file", place)
        if event.anchor not in self._anchors:
            raise self._stop("yaml-alias", f"the alias '*{event.anchor}' has no complete anchor before it", place)
        node, size = self._anchors[event.anchor]
        self._count(size, place)
        return node

    def _count(self, nodes: int, place: Place) -> None:
        self._nodes += nodes
        if self._nodes > MOST_NODES:
            raise self._stop(
                "file-too-large", f"more than {MOST_NODES} values, aliases counted as what they name", place
            )

    def _stop(self, code: str, message: str, place: Place, *, hint: str | None = None) -> _StoppedError:
        self._problems.error(code, message, place, hint=hint)
        return _StoppedError()

    def _place(self, event: Event) -> Place:
        mark = event.start_mark
        assert mark is not None  # only events made by hand have none
        return Place(self._name, mark.line + 1, mark.column + 1)
