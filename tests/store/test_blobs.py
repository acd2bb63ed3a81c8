"""How files get into the store and out of it: verified once a run, linked only where that is safe."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from onnxbuild.base.digest import digest_bytes
from onnxbuild.store import blobs as blobs_module
from onnxbuild.store import copying
from onnxbuild.store.artifact import Artifact, Blob
from onnxbuild.store.blobs import BlobStore, CorruptBlobError

LARGE = copying.LARGE + 12345


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


def write(path: Path, size: int = 1000) -> bytes:
    data = os.urandom(size)
    path.write_bytes(data)
    return data


@pytest.mark.parametrize("take", [False, True])
@pytest.mark.parametrize("size", [0, 10, LARGE])
def test_stored_file_is_whole_and_read_only(store: BlobStore, tmp_path: Path, size: int, take: bool) -> None:
    data = write(tmp_path / "file", size)
    blob = store.add_file(tmp_path / "file", take=take)
    assert blob == Blob(digest_bytes(data), size)
    assert store.path(blob.digest).read_bytes() == data
    assert store.path(blob.digest).stat().st_mode & 0o777 == 0o444
    assert (tmp_path / "file").exists() is not take
    assert list(store.temporary.iterdir()) == []


def test_linked_file_is_copied_although_it_may_be_taken(store: BlobStore, tmp_path: Path) -> None:
    write(tmp_path / "file")
    (tmp_path / "other").hardlink_to(tmp_path / "file")
    blob = store.add_file(tmp_path / "file", take=True)
    assert not store.path(blob.digest).samefile(tmp_path / "other")


def test_file_written_to_while_it_is_taken_is_copied(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "file")

    def write_meanwhile(file: object, path: Path) -> str:
        path.write_bytes(b"another")
        return "0" * 64

    monkeypatch.setattr(blobs_module, "hash_and_sync", write_meanwhile)
    blob = store.add_file(tmp_path / "file", take=True)
    assert blob.digest == digest_bytes(b"another")
    assert (tmp_path / "file").exists()


def add(store: BlobStore, tmp_path: Path) -> tuple[Artifact, Path]:
    write(tmp_path / "file")
    blob = store.add_file(tmp_path / "file")
    return Artifact({"file": blob}), store.path(blob.digest)


def alter(path: Path, *, keep_time: bool = True) -> None:
    stat = path.stat()
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?!"[:1])
    if keep_time:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("link", [False, True])
def test_first_consumer_of_a_run_verifies(store: BlobStore, tmp_path: Path, link: bool) -> None:
    artifact, path = add(store, tmp_path)
    alter(path)
    with pytest.raises(CorruptBlobError):
        BlobStore(store.aside.parent).lay_out(artifact, tmp_path / "out", link=link)
    assert not path.exists()
    assert list(store.aside.iterdir())


@pytest.mark.parametrize("link", [False, True])
def test_later_consumers_of_a_run_do_not_hash_again(
    store: BlobStore, tmp_path: Path, link: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, path = add(store, tmp_path)
    first = BlobStore(store.aside.parent)
    first.lay_out(artifact, tmp_path / "one", link=link)
    later = BlobStore(store.aside.parent, first.known_of([artifact]))
    monkeypatch.setattr(copying, "hashlib", None)
    monkeypatch.setattr(blobs_module, "digest_file", None)
    later.lay_out(artifact, tmp_path / "two", link=link)
    assert (tmp_path / "two/file").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("link", [False, True])
def test_blob_written_to_since_is_verified_again(store: BlobStore, tmp_path: Path, link: bool) -> None:
    artifact, path = add(store, tmp_path)
    store.lay_out(artifact, tmp_path / "one")
    alter(path, keep_time=False)
    with pytest.raises(CorruptBlobError):
        store.lay_out(artifact, tmp_path / "two", link=link)


def test_only_links_are_links(store: BlobStore, tmp_path: Path) -> None:
    artifact, path = add(store, tmp_path)
    store.lay_out(artifact, tmp_path / "linked", link=True)
    store.lay_out(artifact, tmp_path / "copied")
    assert path.samefile(tmp_path / "linked/file")
    assert not path.samefile(tmp_path / "copied/file")


def test_what_was_laid_out_comes_back_without_a_copy(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, path = add(store, tmp_path)
    store.lay_out(artifact, tmp_path / "in")
    inode = path.stat().st_ino
    (tmp_path / "out").mkdir()
    (tmp_path / "out/file").hardlink_to(tmp_path / "in/file")
    monkeypatch.setattr(copying, "hashlib", None)
    assert store.add_folder(tmp_path / "out", take=True) == artifact
    assert path.stat().st_ino == inode


def test_what_was_laid_out_and_written_to_is_another_blob(store: BlobStore, tmp_path: Path) -> None:
    artifact, _ = add(store, tmp_path)
    store.lay_out(artifact, tmp_path / "in")
    alter(tmp_path / "in/file", keep_time=False)
    assert store.add_folder(tmp_path / "in") != artifact


@pytest.mark.parametrize("pieces", [0, 1, 3])
def test_kernel_copy_falls_back_where_there_is_none(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    """Also in the middle of a file: what the kernel copied stays, and the rest follows."""
    data = write(tmp_path / "file", LARGE)
    left = [pieces]
    copy = os.copy_file_range

    def refuse(source: int, out: int, count: int) -> int:
        if not left[0]:
            raise OSError(18, "Invalid cross-device link")
        left[0] -= 1
        return copy(source, out, min(count, 1_000_003))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    copying.copy_quickly(tmp_path / "file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    left[0] = pieces
    blob = store.add_file(tmp_path / "file")
    assert blob.digest == hashlib.sha256(data).hexdigest()
    assert store.path(blob.digest).read_bytes() == data


def test_error_of_the_disk_while_the_kernel_copies_is_told(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "file", LARGE)

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", fail)
    with pytest.raises(OSError, match="No space"):
        store.add_file(tmp_path / "file")
    assert not [*store.root.rglob("*/*")]
    assert not [*store.temporary.iterdir()]
