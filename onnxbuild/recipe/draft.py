"""One target while it is made from its merged recipe: places, problems, and which sections cannot be trusted."""

from __future__ import annotations

from dataclasses import dataclass

from onnxbuild.base.diagnostics import Place
from onnxbuild.recipe.node import Node, Path, find, key_place, value_place
from onnxbuild.recipe.problems import Problems
from onnxbuild.recipe.raw import RawRecipe
from onnxbuild.recipe.wording import dotted


@dataclass(frozen=True)
class Draft:
    """The merged recipe as a tree and as values. A section is `broken` once an error in it was noted."""

    node: Node
    raw: RawRecipe
    problems: Problems
    broken: set[str]

    def key(self, *path: str | int) -> Place:
        """Return where the key of `path` was written, or its nearest written ancestor."""
        return key_place(self.node, path)

    def value(self, *path: str | int) -> Place:
        """Return where the value of `path` was written, or its nearest written ancestor."""
        return value_place(self.node, path)

    def has(self, *path: str | int) -> bool:
        """Whether anything was written at `path`."""
        return find(self.node, path) is not None

    def error(
        self, code: str, message: str, place: Place, section: str, *, note: str | None = None, hint: str | None = None
    ) -> None:
        """Note an error that makes `section` useless to later checks."""
        self.broken.add(section)
        self.problems.error(code, message, place, note=note, hint=hint)

    def missing(self, path: Path, what: str, *, hint: str | None = None) -> None:
        """Note that a key is missing, unless its section is broken already and so has its message."""
        section = str(path[0])
        if section in self.broken:
            return
        owner = f"`{dotted(path[:-1])}` needs" if len(path) > 1 else "the recipe needs"
        place = self.key(*path[:-1]) if len(path) > 1 else self.node.place
        self.error("missing-key", f"{owner} {what}", place, section, hint=hint)

    def one_of(self, path: Path, keys: tuple[str, ...]) -> str | None:
        """Return which one of several alternatives is written at `path`; more than one is an error at the second."""
        node = find(self.node, path)
        written = [key for key in node.entries if key in keys] if node is not None else []
        if len(written) > 1:
            second = max((self.key(*path, key), key) for key in written)[1]
            others = " and ".join(f"'{key}'" for key in written if key != second)
            message = f"'{second}' cannot stand beside {others} in `{dotted(path)}`"
            self.error("alternatives", message, self.key(*path, second), str(path[0]), hint="keep one of them")
        return written[0] if written else None
