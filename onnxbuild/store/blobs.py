"""Blobs by SHA-256: written once, whole or not at all, read-only, verified when consumed; knows nothing of actions."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from onnxbuild.base.atomic import default_mode, put_in_place, temporary_file
from onnxbuild.base.digest import digest_file, list_files
from onnxbuild.store.artifact import Artifact, Blob
from onnxbuild.store.copying import copy_hashing, copy_quickly, hash_and_sync
from onnxbuild.store.known import KnownFile, KnownFiles


class CorruptBlobError(Exception):
    """A blob is missing, or its bytes are not those of its name; it was set aside."""

    def __init__(self, digest: str, name: str) -> None:
        super().__init__(f"blob {digest} ({name}) is missing or altered")
        self.digest = digest


class BlobStore:
    """The folder of blobs. Nothing in it knows an absolute path, so it can be moved, copied and shared."""

    def __init__(self, root: Path, known: Iterable[KnownFile] = ()) -> None:
        self.known = KnownFiles(known)
        self.root = root / "blobs"
        self.aside = root / "corrupt"
        self.temporary = root / "tmp"

    def path(self, digest: str) -> Path:
        """Return where the blob lies or would lie."""
        return self.root / digest[:2] / digest

    def has(self, blob: Blob) -> bool:
        """Tell whether a file of the right name and size is there, without reading it."""
        try:
            return self.path(blob.digest).stat().st_size == blob.size
        except (FileNotFoundError, NotADirectoryError):
            return False

    def has_artifact(self, artifact: Artifact) -> bool:
        """Tell whether every blob of `artifact` is there, without reading them."""
        return all(self.has(blob) for blob in artifact.files.values())

    def add_file(self, source: Path, *, take: bool = False) -> Blob:
        """Bring a file in, whole and on the disk before it has its name, so that a crash leaves no partial blob.

        It is copied, hashing what is written; `take` allows to move it instead: nobody must be able to write to it any
        more. A file that this store laid out, and that nobody wrote to since, is the blob that it was.
        """
        known = self.known.find(source)
        if known is not None and self.has(known):
            return known
        blob = (self._take(source) if take else None) or self._copy_in(source)
        self.known.note(self.path(blob.digest), blob)
        return blob

    def _copy_in(self, source: Path) -> Blob:
        self.temporary.mkdir(parents=True, exist_ok=True)
        with temporary_file(self.temporary) as (out, temporary), source.open("rb", buffering=0) as file:
            blob = Blob(*copy_hashing(file, out, sync=True))
            os.fchmod(out.fileno(), 0o444)
            self._name(temporary, blob)
        return blob

    def _take(self, source: Path) -> Blob | None:
        """Move a file in; None, and the file stays, when it is linked, elsewhere or changes meanwhile."""
        self.temporary.mkdir(parents=True, exist_ok=True)
        with source.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            if before.st_nlink != 1 or before.st_dev != self.temporary.stat().st_dev:
                return None
            os.fchmod(file.fileno(), 0o444)
            digest = hash_and_sync(file, source)
            after = os.fstat(file.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                return None
        blob = Blob(digest, before.st_size)
        self._name(source, blob)
        return blob

    def _name(self, file: Path, blob: Blob) -> None:
        """Give a whole file its final name; one that is there already is replaced: perhaps it was altered."""
        put_in_place(file, self.path(blob.digest))

    def add_folder(self, folder: Path, *, take: bool = False) -> Artifact:
        """Store every file below `folder` and return the artifact they make; `take` as in `add_file`."""
        return Artifact({name: self.add_file(folder / name, take=take) for name in list_files(folder)})

    def known_of(self, artifacts: Iterable[Artifact]) -> Iterator[KnownFile]:
        """Yield what this run knows of the blobs of `artifacts`, for another of its processes."""
        for blob in {blob.digest: blob for artifact in artifacts for blob in artifact.files.values()}.values():
            if self.has(blob) and (known := self.known.get(self.path(blob.digest))) is not None:
                yield known

    def verify(self, blob: Blob, name: str = "") -> None:
        """Read the blob and raise CorruptBlobError, setting it aside, when it is not what its name says."""
        if not self.has(blob) or digest_file(self.path(blob.digest)) != blob.digest:
            self._set_aside(blob, name)

    def lay_out(self, artifact: Artifact, folder: Path, *, writable: bool = False, link: bool = False) -> None:
        """Put an artifact's files below `folder`, each verified by the first of a run that consumes it.

        Copies them: `onnx.load` and onnx_ir refuse linked external data, and a tool that writes in place must not
        reach the store. `link` allows hard links, for those that only read and accept them. Raises CorruptBlobError,
        with the blob set aside.
        """
        for name, blob in artifact.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not self.has(blob):
                self._set_aside(blob, name)
            if link and self._link(blob, name, target):
                continue
            if self.known.find(self.path(blob.digest)) == blob:
                copy_quickly(self.path(blob.digest), target)
            elif self._copy_out(blob, target) != blob.digest:
                self._set_aside(blob, name)
            target.chmod(default_mode(0o666) if writable else 0o444)
            self.known.note(self.path(blob.digest), blob)
            self.known.note(target, blob)

    def _link(self, blob: Blob, name: str, target: Path) -> bool:
        path = self.path(blob.digest)
        if self.known.find(path) != blob:
            self.verify(blob, name)
            self.known.note(path, blob)
        try:
            target.hardlink_to(path)
        except OSError:  # on another file system, on one without links, or at the limit of links
            return False
        return True

    def _copy_out(self, blob: Blob, target: Path) -> str:
        with self.path(blob.digest).open("rb", buffering=0) as file, target.open("w+b", buffering=0) as out:
            return copy_hashing(file, out)[0]

    def _set_aside(self, blob: Blob, name: str) -> NoReturn:
        """Move an altered blob out of the way, unless another process has put a sound one there meanwhile."""
        path = self.path(blob.digest)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if not path.is_file() or digest_file(path) != blob.digest:
                self.aside.mkdir(parents=True, exist_ok=True)
                path.replace(self.aside / blob.digest)
        raise CorruptBlobError(blob.digest, name)
