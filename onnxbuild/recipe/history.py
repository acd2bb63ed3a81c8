"""What git has of recipes and their locks, at the last revisions that changed them; checks nothing out, never fails.

Bounded in revisions, bytes of content and time: where git, a repository or an object is missing there is less to tell.
What other revisions hold is foreign: of a lock only figures are read, and what does not have their form is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from onnxbuild.base.digest import digest_bytes
from onnxbuild.base.git import GitError, git
from onnxbuild.recipe.lock import FORMAT, Size, lock_path

MOST_REVISIONS = 300
"""Commits that are looked at, of all recipes of a project together."""
MOST_EACH = 16
"""Versions of one file that are read, the newest."""
MOST_BYTES = 1_000_000
"""Bytes of a file above which it is not read."""
MOST_READ = 64_000_000
"""Bytes that are read in all."""
MOST_TOLD = 10_000_000
"""Bytes in which git may tell what changed: a change takes about a hundred."""
LARGEST = 1e100
"""A figure of a foreign file from which on it is none: what differs by more than a float holds cannot be drawn."""
_SECONDS = 5
_CHANGE = re.compile(r":\d+ \d+ [0-9a-f]+ ([0-9a-f]+) [A-Z]\d*")


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of a target when it was accepted: size in bytes, metrics by provider, latencies as in a lock.

    `names` says which metric it is, by provider.
    """

    bytes: int | None = None
    metrics: dict[str, float] = {}
    names: dict[str, str] = {}
    latencies: dict[str, float] = {}


@dataclass(frozen=True)
class Version:
    """A lock at one time: the day of its commit, None where it is not committed, and the entries by variant.

    An entry is its own text's digest, and the figures in it.
    """

    day: str | None
    entries: Mapping[str, tuple[str, Figures]]


@dataclass(frozen=True)
class History:
    """Of each lock its versions, the oldest first; and the recipes' texts by digest."""

    locks: Mapping[str, tuple[Version, ...]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    def of(self, recipe: str, variant: str) -> tuple[Figures, ...]:
        """Return what was accepted of a target, the oldest first, each only where it is another than before."""
        found: list[Figures] = []
        for version in self.locks.get(lock_path(recipe), ()):
            _, figures = version.entries.get(variant, ("", None))
            if figures is not None and figures != (found[-1] if found else None):
                found.append(figures)
        return tuple(found)

    def day_of(self, recipe: str, variant: str) -> str | None:
        """Return the day of the commit since which a target's entry is what it is now; None where there is none."""
        versions = self.locks.get(lock_path(recipe), ())
        now = versions[-1].entries.get(variant) if versions else None
        day = None
        for version in reversed(versions[:-1]):
            if now is None or version.entries.get(variant) != now:
                break
            day = version.day
        return day


class _Metric(msgspec.Struct, frozen=True):
    name: str
    model: float | None = None


class _Estimate(msgspec.Struct, frozen=True):
    value: float


class _Entry(msgspec.Struct, frozen=True):
    bytes: Size | None = None
    metrics: dict[str, _Metric] = {}
    latencies: dict[str, _Estimate] = {}


class _File(msgspec.Struct, frozen=True):
    format: int
    targets: dict[str, msgspec.Raw]


def read_history(root: Path, recipes: Iterable[str]) -> History:
    """Return the history of recipes of the project at `root`, and of the locks beside them.

    The locks as they are now come last, so that to commit them changes nothing here. A recipe that has no lock now has
    no history; where none has one, git is not asked.
    """
    now = {}
    for recipe in recipes:
        try:
            now[recipe] = (root / lock_path(recipe)).read_bytes()
        except OSError:
            continue
    if not now:
        return History()
    wanted = {*now, *map(lock_path, now)}
    try:
        versions = _versions(root, wanted)
        content = _read(root, [blob for blobs in versions.values() for blob, _ in blobs])
    except GitError:
        versions, content = {}, {}
    locks = {}
    texts = {}
    for recipe, current in now.items():
        lock = lock_path(recipe)
        before = [(day, content[blob]) for blob, day in reversed(versions.get(lock, ())) if blob in content]
        locks[lock] = tuple(Version(day, entries_of(data)) for day, data in (*before, (None, current)))
        for blob, _ in versions.get(recipe, ()):
            if blob in content:
                texts[digest_bytes(content[blob])] = content[blob].decode("utf-8", "replace")
    return History(locks, texts)


def entries_of(data: bytes) -> dict[str, tuple[str, Figures]]:
    """Return a lock's entries by variant: digest and figures; nothing of what is no lock of this format."""
    if len(data) > MOST_BYTES:
        return {}
    try:
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return {}
    if file.format != FORMAT:
        return {}
    found = ((name, digest_bytes(bytes(raw)), _figures(raw)) for name, raw in file.targets.items())
    return {name: (digest, figures) for name, digest, figures in found if figures is not None}


def _figures(raw: msgspec.Raw) -> Figures | None:
    try:
        entry = msgspec.json.decode(raw, type=_Entry)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    known = {p: m for p, m in entry.metrics.items() if m.model is not None and _is_drawn(m.model)}
    return Figures(
        bytes=entry.bytes,
        metrics={provider: metric.model for provider, metric in known.items() if metric.model is not None},
        names={provider: metric.name for provider, metric in known.items()},
        latencies={name: time.value for name, time in entry.latencies.items() if _is_drawn(time.value)},
    )


def _is_drawn(value: float) -> bool:
    """Tell whether a figure is one that differences can be taken of."""
    return abs(value) < LARGEST


def _versions(root: Path, wanted: set[str]) -> dict[str, list[tuple[str, str]]]:
    """Return the blobs that files were at the last revisions that changed them, with their days, the newest first."""
    folders = dict.fromkeys(name.rpartition("/")[0] for name in sorted(wanted))
    files = [f":(glob){_literal(folder)}{'/' if folder else ''}*" for folder in folders]
    told = git(
        root, "log", "--first-parent", "-m", "--raw", "-z", "--no-abbrev", "--no-renames", "--relative",
        "--format=%x01%cs", f"--max-count={MOST_REVISIONS}", "--", *files,
        seconds=_SECONDS, most=MOST_TOLD, offline=True,
    )  # fmt: skip
    found: dict[str, list[tuple[str, str]]] = {}
    for day, blob, name in _changes(told):
        blobs = found.setdefault(name, [])
        if name in wanted and len(blobs) < MOST_EACH and blob.strip("0"):
            blobs.append((blob, day))
    return found


def _changes(told: bytes) -> Iterator[tuple[str, str, str]]:
    """Yield the day, the new blob and the name of each change in what `git log --raw -z` printed."""
    parts = iter(told.decode("utf-8", "surrogateescape").split("\0"))
    day = ""
    for part in parts:
        if part.startswith("\x01"):
            day = part[1:].strip()
        elif (change := _CHANGE.fullmatch(part.strip())) is not None:
            yield day, change[1], next(parts, "")


def _read(root: Path, blobs: Iterable[str]) -> dict[str, bytes]:
    """Return the content of those blobs that are there and not too large."""
    sizes = git(root, "cat-file", "--batch-check", stdin=_lines(blobs), seconds=_SECONDS, offline=True).split(b"\n")
    small, total = [], 0
    for line in sizes:
        name, kind, size, *_ = *line.split(), b"", b"", b""
        if kind == b"blob" and int(size) <= MOST_BYTES and total + int(size) <= MOST_READ:
            small.append(name.decode())
            total += int(size)
    data = git(root, "cat-file", "--batch", stdin=_lines(small), seconds=_SECONDS, offline=True)
    found, at = {}, 0
    while at < len(data):
        head, end = data[at : data.index(b"\n", at)].split(), data.index(b"\n", at) + 1
        if len(head) < 3:  # it has gone since its size was asked for
            at = end
            continue
        at = end + int(head[2]) + 1
        found[head[0].decode()] = data[end : at - 1]
    return found


def _lines(blobs: Iterable[str]) -> bytes:
    return b"".join(blob.encode() + b"\n" for blob in dict.fromkeys(blobs))


def _literal(folder: str) -> str:
    return re.sub(r"([*?\[\\])", r"\\\1", folder)
