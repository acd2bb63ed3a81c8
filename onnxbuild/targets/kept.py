"""What the last good make of a selection came to, kept group by group, so that the next one walks only what differs.

A group stands while none of the stat records that its evidence names differs, its blobs have their sizes and its traces
are there; then what it would tell is told from here. Whatever else differs is in no group: then everything is walked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from onnxbuild.base.atomic import write_atomically
from onnxbuild.base.digest import digest_bytes
from onnxbuild.base.seal import BrokenSealError, OtherFormatError, seal, unseal
from onnxbuild.engine.events import ActionDone, Gate, TargetJudged
from onnxbuild.stamp import Stamp, decode, differing, path_of
from onnxbuild.store.artifact import Blob
from onnxbuild.store.store import Store

KIND = "onnxbuild kept"
FORMAT = 2
KEPT = ".onnxbuild/state/kept"


class KeptTarget(msgspec.Struct, frozen=True, array_like=True):
    """A selected target's verdict, and its gates that are not passed."""

    verdict: TargetJudged
    gates: tuple[Gate, ...]

    @property
    def name(self) -> str:
        """The target's name."""
        return self.verdict.target


class KeptRecipe(msgspec.Struct, frozen=True, array_like=True):
    """One recipe: the actions in its stretch of the plan, and as JSON lines what a walk over them tells.

    `said` are those of them that a terminal shows too: what is not packaged, and gates that are not passed or warn.
    `failed` says that a gate fails in it.
    """

    name: str
    file: str
    variants: tuple[str, ...]
    actions: int
    up_to_date: int
    failed: bool
    events: bytes
    said: tuple[ActionDone | Gate, ...]
    targets: tuple[KeptTarget, ...]


class KeptGroup(msgspec.Struct, frozen=True, array_like=True):
    """Recipes that share actions; see plan.action.RecipeGroup.

    `names` are those of its evidence in the stamp, `blobs` sizes by digest, `traces` keys and ids. Groups that are not
    `flawless` are walked each time: to say again what is wrong with a recipe, and to tell last which layers a missed
    tolerance was blamed on.
    """

    recipes: tuple[KeptRecipe, ...]
    roots: tuple[str, ...]
    names: tuple[str, ...]
    blobs: dict[str, int]
    traces: tuple[tuple[str, str], ...]
    flawless: bool


class _Content(msgspec.Struct, frozen=True, array_like=True):
    """The whole file; `stamp` is the digest of the stamp that it belongs to, `files` are all recipes' files."""

    stamp: str
    files: tuple[str, ...]
    groups: tuple[KeptGroup, ...]


@dataclass(frozen=True)
class Kept:
    """What a selection's last good make left: its stamp, all recipes' files in order, and groups; see `standing`."""

    stamp: Stamp
    files: tuple[str, ...]
    groups: tuple[KeptGroup, ...]

    @property
    def recipes(self) -> dict[str, KeptRecipe]:
        """The recipes of all groups, by name."""
        return {recipe.name: recipe for group in self.groups for recipe in group.recipes}

    @property
    def roots(self) -> frozenset[str]:
        """The roots of all groups."""
        return frozenset(root for group in self.groups for root in group.roots)


def write_kept(
    root: Path, chosen: tuple[str, ...], stamp: bytes, files: Sequence[str], groups: Iterable[KeptGroup]
) -> None:
    """Leave what belongs to a stamp beside it."""
    if (file := _file(root, chosen)) is not None:
        content = msgspec.msgpack.encode(_Content(digest_bytes(stamp), tuple(files), tuple(groups)))
        write_atomically(file, seal(content, KIND, FORMAT), durable=False)


def standing(root: Path, chosen: tuple[str, ...], store: Store) -> Kept | None:
    """Return what still stands of a selection; None when that is nothing, or when anything else differs."""
    file, stamp_file = _file(root, chosen), path_of(str(root), chosen)
    try:
        if file is None or stamp_file is None:
            return None
        data = Path(stamp_file).read_bytes()
        stamp = decode(data)
        content = msgspec.msgpack.decode(unseal(file.read_bytes(), KIND, FORMAT), type=_Content)
        if stamp is None or stamp.selection != chosen or content.stamp != digest_bytes(data):
            return None
        other = set(differing(stamp, str(root)))
    except (OSError, ValueError, TypeError, EOFError, BrokenSealError, OtherFormatError, msgspec.MsgspecError):
        return None
    owned: set[str] = set()
    stands = []
    whole: dict[object, bool] = {}
    for group in content.groups:
        hit = other.intersection(group.names)
        owned |= hit
        if not hit and group.flawless and _is_whole(group, store, whole):
            stands.append(group)
    return Kept(stamp, content.files, tuple(stands)) if other == owned and stands else None


def _is_whole(group: KeptGroup, store: Store, known: dict[object, bool]) -> bool:
    """Tell whether a group's blobs are there, as far as their sizes tell, and its traces, which are used by that."""
    for digest, size in group.blobs.items():
        if digest not in known:
            known[digest] = store.blobs.has(Blob(digest, size))
        if not known[digest]:
            return False
    for trace in group.traces:
        if trace not in known:
            known[trace] = store.traces.use(*trace)
        if not known[trace]:
            return False
    return True


def _file(root: Path, chosen: tuple[str, ...]) -> Path | None:
    stamp = path_of(str(root), chosen)
    return root / KEPT / Path(stamp).name if stamp is not None else None
