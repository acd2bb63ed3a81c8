"""Which traces and blobs of a store may go, by need, age, last use and size; and their removal while others build.

A trace's last use is the time of its file: whoever decides by a trace touches it. What is used after a collection has
begun, and what a running make may have used since it began, stays: a file is moved aside, looked at again, and put
back when it is not the one that was judged.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from onnxbuild.base.atomic import put_in_place
from onnxbuild.store.leases import oldest_lease
from onnxbuild.store.store import Store
from onnxbuild.store.traces import Trace

DAY = 86400.0
ASIDE = "gc."
"""How the names of the folders begin that a collection moves files into before they go."""


@dataclass(frozen=True)
class Policy:
    """What is kept beyond what is needed: `max_bytes` in all, `max_age` and `grace` in seconds since the last use."""

    max_bytes: int = 50_000_000_000
    max_age: float = 90 * DAY
    grace: float = 3600.0


class Victim(msgspec.Struct, frozen=True, kw_only=True):
    """A file to remove, with the bytes it takes and why; `kind` is record, blob, altered or lock.

    `inode` and `modified` (ns) tell the file that was judged from one that was used or replaced since.
    """

    kind: str
    name: str
    size: int
    why: str
    path: str
    inode: int
    modified: int


@dataclass
class Sweep:
    """What a collection removes, or would remove, and how many bytes stay."""

    victims: list[Victim] = field(default_factory=list)
    kept_bytes: int = 0

    @property
    def freed_bytes(self) -> int:
        """The bytes of all victims."""
        return sum(victim.size for victim in self.victims)


@dataclass(frozen=True)
class _Record:
    path: Path
    trace: Trace | None
    stat: os.stat_result

    @property
    def used(self) -> float:
        return self.stat.st_mtime


def plan_sweep(store: Store, needed: Collection[tuple[str, str]], policy: Policy, now: float) -> Sweep:
    """Return what may go; `needed` are keys and ids of traces that current recipes stand on, `now` POSIX seconds."""
    limit = _limit(store, policy, now)
    records = list(_records(store))
    sizes = {path.name: (path, stat) for path, stat in _files(store.blobs.root)}
    goes: dict[Path, str] = {}
    for record in records:
        if record.used < limit and not _is_needed(record, needed):
            if record.trace is None:
                goes[record.path] = "it is damaged, or of another version"
            elif record.used < now - policy.max_age:
                goes[record.path] = f"not used for {(now - record.used) / DAY:.0f} days"
    count = Counter(blob for record in records if record.path not in goes for blob in _blobs(record.trace))
    total = sum(sizes[blob][1].st_size for blob in count if blob in sizes)
    total += sum(record.stat.st_size for record in records if record.path not in goes)
    for record in sorted(records, key=_worth):
        if total <= policy.max_bytes:
            break
        if record.path in goes or record.used >= limit or _is_needed(record, needed):
            continue
        goes[record.path] = "the store is larger than its bound, and this was used longest ago"
        total -= record.stat.st_size
        for blob in _blobs(record.trace):
            count[blob] -= 1
            if not count[blob] and blob in sizes:
                total -= sizes[blob][1].st_size
    victims = [
        _victim("record", r.trace.action if r.trace is not None else r.path.name, r.path, r.stat, goes[r.path])
        for r in records
        if r.path in goes
    ]
    for digest, (path, stat) in sizes.items():
        if not count[digest] and max(stat.st_mtime, stat.st_ctime) < limit:
            victims.append(_victim("blob", digest, path, stat, "no record needs it"))
    victims += _remains(store, limit)
    kept = sum(stat.st_size for _, stat in sizes.values()) + sum(record.stat.st_size for record in records)
    return Sweep(victims, kept - sum(v.size for v in victims if v.kind in ("record", "blob")))


def remove(store: Store, sweep: Sweep) -> Sweep:
    """Remove what `plan_sweep` chose, less what came into use since; return what was really removed."""
    for left in store.traces.temporary.glob(f"{ASIDE}*"):
        if left.stat().st_mtime < time.time() - DAY:
            shutil.rmtree(left, ignore_errors=True)  # of a collection that died
    gone = [v for v in sweep.victims if v.kind == "record" and _remove(store, v)]
    still = {blob for _, trace in store.traces.every() for blob in _blobs(trace)}
    for victim in sweep.victims:
        if victim.kind == "blob" and victim.name in still:
            continue
        if victim.kind != "record" and (_remove_lock(victim) if victim.kind == "lock" else _remove(store, victim)):
            gone.append(victim)
    for folder in (*store.traces.root.glob("*/*"), *store.traces.root.glob("*"), *store.blobs.root.glob("*")):
        with contextlib.suppress(OSError):  # not empty, or no folder
            folder.rmdir()
    return Sweep(gone, sweep.kept_bytes + sweep.freed_bytes - sum(victim.size for victim in gone))


def _limit(store: Store, policy: Policy, now: float) -> float:
    """Return the time since which whatever was used or written stays."""
    lease = oldest_lease(store.root)
    return min(now - policy.grace, lease) if lease is not None else now - policy.grace


def _records(store: Store) -> Iterator[_Record]:
    for path, trace in store.traces.every():
        with contextlib.suppress(FileNotFoundError):
            yield _Record(path, trace, path.stat())


def _is_needed(record: _Record, needed: Collection[tuple[str, str]]) -> bool:
    return record.trace is not None and (record.trace.key, record.trace.id) in needed


def _worth(record: _Record) -> tuple[float, float]:
    """Order by the day of the last use; of those of one day what was made in the least time per byte goes first."""
    if record.trace is None:
        return (record.used // DAY, 0.0)
    size = sum(artifact.size for artifact in record.trace.outputs.values())
    return (record.used // DAY, record.trace.seconds / (size + record.stat.st_size + 1))


def _blobs(trace: Trace | None) -> set[str]:
    if trace is None:
        return set()
    return {blob.digest for artifact in trace.outputs.values() for blob in artifact.files.values()}


def _victim(kind: str, name: str, path: Path, stat: os.stat_result, why: str) -> Victim:
    inode, modified = stat.st_ino, stat.st_mtime_ns
    return Victim(kind=kind, name=name, size=stat.st_size, why=why, path=str(path), inode=inode, modified=modified)


def _remains(store: Store, limit: float) -> Iterator[Victim]:
    """Yield blobs that were set aside because they were altered, and locks that nobody has had for a while."""
    for kind, folder, why in (
        ("altered", store.blobs.aside, "it was altered and set aside"),
        ("lock", store.root / "locks", "nobody builds it"),
    ):
        for path in folder.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                if max(stat.st_mtime, stat.st_ctime) < limit:
                    yield _victim(kind, path.name, path, stat, why)


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in sorted(folder.glob("*/*")):
        with contextlib.suppress(FileNotFoundError):
            yield path, path.stat()


def _remove(store: Store, victim: Victim) -> bool:
    """Remove a file, unless it was used or replaced since it was judged."""
    path = Path(victim.path)
    store.traces.temporary.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.traces.temporary, prefix=ASIDE) as aside:
        moved = Path(aside, path.name)
        try:
            path.rename(moved)
        except FileNotFoundError:
            return False
        found = moved.stat()
        if (found.st_ino, found.st_mtime_ns) == (victim.inode, victim.modified):
            return True
        if not path.exists():
            put_in_place(moved, path)
        return False


def _remove_lock(victim: Victim) -> bool:
    """Remove a lock file, unless somebody has the lock; who takes it just then sees that it is gone."""
    path = Path(victim.path)
    with contextlib.suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return True
    return False
