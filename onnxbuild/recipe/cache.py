"""Recipes as they were read last time, each under the stat records of all files that reading it looked at.

With it neither YAML is parsed nor data opened again. Only what had nothing wrong with it is kept.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from onnxbuild.base.atomic import write_atomically
from onnxbuild.base.codec import encode
from onnxbuild.base.digest import digest_bytes
from onnxbuild.base.own_code import own_files
from onnxbuild.base.seal import BrokenSealError, OtherFormatError, seal, unseal
from onnxbuild.recipe.project import FILE
from onnxbuild.recipe.types import Project, ReadRecipe
from onnxbuild.stamp import Signature, signature

KIND = "onnxbuild recipes"
FORMAT = 1
GRAIN = 50_000_000
"""Nanoseconds within which two changes of a file may get the same time; see engine.inputs."""


class _Entry(msgspec.Struct):
    """A recipe as read; `globs` are patterns that something must match."""

    signatures: dict[str, Signature | None]
    globs: tuple[str, ...]
    recipe: msgspec.Raw


class _Content(msgspec.Struct):
    """The whole file; `code` stands for the state of onnxbuild itself, `settings` for that of onnxbuild.yaml."""

    code: str
    settings: Signature | None
    project: Project
    entries: dict[str, _Entry]


class RecipeCache:
    """The cache of one project at `root`; `save` keeps what was noted."""

    def __init__(self, root: Path, file: Path) -> None:
        self.root, self._file = root, file
        self._code = digest_bytes(encode([[name, signature(name)] for name in own_files()]))
        self._settings = signature(str(root / FILE))
        self._trusts_settings = self._settings is None or self._settings[1] < time.time_ns() - GRAIN
        self._known = self._load()
        self._kept: dict[str, _Entry] = {}
        self._dirty = False

    @property
    def project(self) -> Project | None:
        """The settings, when onnxbuild.yaml is as it was."""
        return self._known.project if self._known is not None else None

    def find(self, file: str) -> tuple[ReadRecipe, tuple[str, ...]] | None:
        """Return the recipe of a file with the names of all that was looked at, unless any of that differs."""
        entry = self._known.entries.get(file) if self._known is not None else None
        if entry is None or any(signature(str(self.root / n)) != s for n, s in entry.signatures.items()):
            return None
        if not all(any(True for _ in self.root.glob(pattern)) for pattern in entry.globs):
            return None
        try:
            recipe = msgspec.msgpack.decode(entry.recipe, type=ReadRecipe)
        except msgspec.MsgspecError:
            return None
        self._kept[file] = entry
        return recipe, tuple(entry.signatures)

    def sound(self, file: str) -> frozenset[str]:
        """Return what was looked at for a recipe that is itself as it was, and is as it was too, with all below it."""
        entry = self._known.entries.get(file) if self._known is not None else None
        if entry is None:
            return frozenset()
        other = [name for name, known in entry.signatures.items() if signature(str(self.root / name)) != known]
        if file in other:
            return frozenset()
        return frozenset(n for n in entry.signatures if not any(o == n or o.startswith(f"{n}/") for o in other))

    def stand(self, file: str) -> None:
        """Keep the recipe of a file as it is, without reading it."""
        if self._known is not None and file in self._known.entries:
            self._kept[file] = self._known.entries[file]

    def look(self, names: Iterable[str]) -> dict[str, Signature | None]:
        """Return the stat records of files, and of folders with all that is below them."""
        found: dict[str, Signature | None] = {}
        for name in names:
            found[name] = signature(str(self.root / name))
            for folder, folders, files in os.walk(self.root / name, followlinks=True):
                for entry in (*folders, *files):
                    path = os.path.relpath(f"{folder}/{entry}", self.root)
                    found[path] = signature(str(self.root / path))
        return found

    def keep(
        self,
        recipe: ReadRecipe,
        before: int,
        names: Iterable[str],
        globs: Iterable[str],
    ) -> None:
        """Keep a recipe that was read after `before` (ns), unless a file it names may have changed since."""
        signatures = self.look((recipe.file, *names))
        if all(found is None or found[1] < before - GRAIN for found in signatures.values()):
            packed = msgspec.Raw(msgspec.msgpack.encode(recipe))
            self._kept[recipe.file] = _Entry(signatures, tuple(globs), packed)
            self._dirty = True

    def save(self, project: Project) -> None:
        """Write the cache, when it is not what it was; never the first thing in a project that nothing was made in."""
        known = self._known.entries if self._known is not None else {}
        if (
            not self._file.parent.is_dir()
            or not self._trusts_settings
            or (not self._dirty and self._kept.keys() == known.keys())
        ):
            return
        content = _Content(self._code, self._settings, project, self._kept)
        with contextlib.suppress(OSError):  # a project that cannot be written is read each time
            write_atomically(self._file, seal(msgspec.msgpack.encode(content), KIND, FORMAT), durable=False)

    def _load(self) -> _Content | None:
        try:
            content = msgspec.msgpack.decode(unseal(self._file.read_bytes(), KIND, FORMAT), type=_Content)
        except (OSError, BrokenSealError, OtherFormatError, msgspec.MsgspecError):
            return None
        same = (content.code, content.settings, content.project.root)
        return content if same == (self._code, self._settings, str(self.root)) else None
