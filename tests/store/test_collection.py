"""What a collection lets go and what it never does, by need, age, size, grace and use while it runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest

from onnxbuild.store.artifact import Artifact
from onnxbuild.store.collection import DAY, Policy, Sweep, plan_sweep, remove
from onnxbuild.store.leases import Lease, oldest_lease
from onnxbuild.store.store import Store
from onnxbuild.store.traces import Host, Trace
from onnxbuild.store.verify import stats, verify


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store")


def add(store: Store, name: str, *contents: str, days: float, seconds: float = 1.0) -> Trace:
    """Record a trace with one blob for each content, last used so many days ago."""
    outputs = {}
    for number, content in enumerate(contents):
        file = store.root.parent / "file"
        file.write_text(content)
        outputs[str(number)] = Artifact({"x": store.blobs.add_file(file)})
    host = Host(system="", machine="", cpu="", cores=1, python="")
    trace = Trace(
        key=name * 64, action=name, stage="data", manifest=(), discovered=(), outputs=outputs,
        facts=msgspec.Raw(b"{}"), warnings=(), reasons=(), seconds=seconds, host=host, made="2026",
    )  # fmt: skip
    store.traces.record(trace)
    age(store, days)
    return trace


def age(store: Store, days: float) -> None:
    """Make every trace that was used within the last minute one that was last used so many days ago."""
    for path, _ in store.traces.every():
        if path.stat().st_mtime > time.time() - 60:
            os.utime(path, (time.time() - days * DAY,) * 2)


def sweep(store: Store, *needed: Trace, later: float = 10.0, **policy: float) -> Sweep:
    """Plan, seen `later` days from now, so that blobs are past any grace."""
    needs = {(trace.key, trace.id) for trace in needed}
    return plan_sweep(store, needs, Policy(**policy), time.time() + later * DAY)  # type: ignore[arg-type]


def names(found: Sweep, kind: str = "record") -> list[str]:
    """Return the names of the victims of a kind."""
    return sorted(victim.name for victim in found.victims if victim.kind == kind)


def test_by_default_only_what_is_old_goes(store: Store) -> None:
    add(store, "a", "A", days=100)
    add(store, "b", "B", days=30)
    found = sweep(store)
    assert names(found) == ["a"]
    assert [victim.size for victim in found.victims if victim.kind == "blob"] == [1]
    assert "not used for 110 days" in found.victims[0].why


def test_what_is_needed_stays_however_old_and_large(store: Store) -> None:
    old = add(store, "a", "A" * 100, days=1000)
    assert sweep(store, old, max_bytes=0).victims == []


def test_size_takes_the_longest_unused_first_and_of_one_day_the_cheapest(store: Store) -> None:
    add(store, "a", "A" * 1000, days=30, seconds=0.1)
    add(store, "b", "B" * 1000, days=20, seconds=100.0)
    add(store, "c", "C" * 1000, days=20, seconds=0.1)
    total = sweep(store).kept_bytes
    assert names(sweep(store, max_bytes=total)) == []
    assert names(sweep(store, max_bytes=total - 1)) == ["a"]
    assert names(sweep(store, max_bytes=total * 2 // 3 - 1)) == ["a", "c"]
    assert sweep(store, max_bytes=total * 2 // 3 - 1).kept_bytes <= total * 2 // 3


def test_shared_blob_stays_with_the_other_record(store: Store) -> None:
    add(store, "a", "same", "own", days=100)
    add(store, "b", "same", days=1)
    found = remove(store, sweep(store))
    assert names(found) == ["a"]
    assert len(names(found, "blob")) == 1
    assert verify(store, 1).incomplete == 0


def test_grace_keeps_what_was_just_written(store: Store) -> None:
    file = store.root.parent / "file"
    file.write_text("loose")
    store.blobs.add_file(file)
    assert sweep(store, later=0.0).victims == []
    assert len(sweep(store).victims) == 1
    assert sweep(store, grace=11 * DAY).victims == []


def test_a_running_make_keeps_all_that_was_used_since_it_began(store: Store) -> None:
    add(store, "a", "A", days=0)
    add(store, "b", "B", days=100)
    lease = Lease(store.root)
    began = oldest_lease(store.root)
    assert began is not None
    trace = add(store, "c", "C", days=-0.001)
    assert names(sweep(store, max_bytes=0)) == ["a", "b"]
    lease.release()
    assert oldest_lease(store.root) is None
    assert names(sweep(store, max_bytes=0)) == ["a", "b", "c"]
    assert trace.action == "c"


def test_what_is_used_between_choice_and_removal_stays(store: Store) -> None:
    a, b = add(store, "a", "A", days=100), add(store, "b", "B", days=100)
    chosen = sweep(store)
    assert names(chosen) == ["a", "b"]
    assert store.traces.use(a.key, a.id)
    found = remove(store, chosen)
    assert names(found) == ["b"]
    assert store.traces.get(a.key, a.id) is not None
    assert all(store.blobs.has_artifact(artifact) for artifact in a.outputs.values())
    assert not store.traces.use(b.key, b.id)
    assert not store.blobs.has_artifact(b.outputs["0"])


def test_blob_written_anew_between_choice_and_removal_stays(store: Store) -> None:
    a = add(store, "a", "A", days=100)
    chosen = sweep(store)
    file = store.root.parent / "again"
    file.write_text("A")
    Store(store.root).blobs.add_file(file)
    assert names(remove(store, chosen), "blob") == []
    assert store.blobs.has_artifact(a.outputs["0"])


def test_record_made_meanwhile_keeps_the_blobs_it_names(store: Store) -> None:
    add(store, "a", "A", days=100)
    chosen = sweep(store)
    blob = next(victim for victim in chosen.victims if victim.kind == "blob")
    inode = Path(blob.path).stat()
    add(store, "b", "A", days=0)
    os.utime(blob.path, ns=(inode.st_atime_ns, inode.st_mtime_ns))
    assert names(remove(store, chosen), "blob") == []


def test_damaged_records_altered_blobs_and_old_locks_go(store: Store) -> None:
    trace = add(store, "a", "A", days=1)
    (path,) = (path for path, _ in store.traces.every())
    path.write_bytes(path.read_bytes()[:-1])
    os.utime(path, (time.time() - DAY,) * 2)
    store.blobs.path(trace.outputs["0"].files["x"].digest).chmod(0o644)
    store.blobs.path(trace.outputs["0"].files["x"].digest).write_text("B")
    assert len(verify(store, 2).altered) == 1
    lock = store.lock("k" * 64)
    assert lock.try_acquire("me")
    chosen = sweep(store)
    assert sorted(victim.kind for victim in chosen.victims) == ["altered", "lock", "record"]
    assert [victim.kind for victim in remove(store, chosen).victims] == ["record", "altered"], "the lock is held"
    lock.release()
    assert [victim.kind for victim in remove(store, sweep(store)).victims] == ["lock"]
    assert list((store.root / "traces").iterdir()) == []


def test_verify_finds_each_kind_of_damage_and_stats_count(store: Store) -> None:
    good, bad = add(store, "a", "A", days=1), add(store, "b", "BB", days=1)
    assert stats(store).bytes == 3
    assert stats(store).stages[0].records == 2
    assert verify(store, 2).altered == ()
    path = store.blobs.path(bad.outputs["0"].files["x"].digest)
    path.chmod(0o644)
    path.write_text("BX")
    found = verify(store, 2)
    assert found.altered == (path.name,)
    assert (found.blobs, found.bytes, found.incomplete) == (2, 1, 1)
    assert not path.exists()
    assert store.blobs.has_artifact(good.outputs["0"])
    assert stats(store).set_aside == 1
