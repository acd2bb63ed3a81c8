"""Whether everything in a store is what its name says, and how much of what is in it; removes nothing sound."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from onnxbuild.base.digest import digest_file
from onnxbuild.store.artifact import Blob
from onnxbuild.store.blobs import CorruptBlobError
from onnxbuild.store.leases import oldest_lease
from onnxbuild.store.store import Store
from onnxbuild.store.traces import Trace


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at every byte found. `altered` blobs were set aside; `damaged` are files of records.

    `incomplete` counts sound records whose blobs are not all there: they are made again when they are needed.
    """

    blobs: int
    bytes: int
    records: int
    altered: tuple[str, ...]
    damaged: tuple[str, ...]
    incomplete: int


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What the records of one stage take; a blob that several need counts with each."""

    stage: str
    records: int
    bytes: int
    seconds: float


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a store. `needed_by_none` are bytes of blobs that no record names; `building` that a make runs."""

    blobs: int
    bytes: int
    records: int
    record_bytes: int
    needed_by_none: int
    set_aside: int
    building: bool
    stages: tuple[Share, ...]


def verify(store: Store, threads: int) -> Verified:
    """Read every blob and record, `threads` at once, and set aside the blobs that are not what their names say."""
    blobs = dict(_blobs(store))
    with ThreadPoolExecutor(threads) as pool:
        wrong = [name for name in pool.map(_wrong, blobs.items()) if name is not None]
    for name in wrong:
        with contextlib.suppress(CorruptBlobError):
            store.blobs.verify(Blob(name, blobs[name].stat().st_size if blobs[name].exists() else 0))
    damaged, records, incomplete = [], 0, 0
    for path, trace in store.traces.every():
        records += 1
        if trace is None:
            damaged.append(path.relative_to(store.root).as_posix())
        elif not all(store.blobs.has_artifact(artifact) for artifact in trace.outputs.values()):
            incomplete += 1
    return Verified(
        blobs=len(blobs),
        bytes=sum(path.stat().st_size for name, path in blobs.items() if path.exists()),
        records=records,
        altered=tuple(wrong),
        damaged=tuple(damaged),
        incomplete=incomplete,
    )


def stats(store: Store) -> Stats:
    """Count what is in a store, without reading blobs."""
    sizes = {name: path.stat().st_size for name, path in _blobs(store)}
    traces = [(path, trace) for path, trace in store.traces.every() if trace is not None]
    named = {b.digest for _, trace in traces for a in trace.outputs.values() for b in a.files.values()}
    by_stage: dict[str, list[Trace]] = {}
    for _, trace in traces:
        by_stage.setdefault(trace.stage, []).append(trace)
    return Stats(
        blobs=len(sizes),
        bytes=sum(sizes.values()),
        records=len(traces),
        record_bytes=sum(path.stat().st_size for path, _ in traces),
        needed_by_none=sum(size for name, size in sizes.items() if name not in named),
        set_aside=sum(1 for _ in store.blobs.aside.glob("*")),
        building=oldest_lease(store.root) is not None,
        stages=tuple(
            Share(
                stage=stage,
                records=len(own),
                bytes=sum(a.size for trace in own for a in trace.outputs.values()),
                seconds=round(sum(trace.seconds for trace in own), 1),
            )
            for stage, own in sorted(by_stage.items())
        ),
    )


def _blobs(store: Store) -> Iterator[tuple[str, Path]]:
    for path in sorted(store.blobs.root.glob("*/*")):
        if path.is_file():
            yield path.name, path


def _wrong(item: tuple[str, Path]) -> str | None:
    name, path = item
    try:
        return None if re.fullmatch("[0-9a-f]{64}", name) and digest_file(path) == name else name
    except FileNotFoundError:
        return None  # a collection took it meanwhile
