"""Blobs by SHA-256: written once, whole or not at all, read-only, verified when consumed; knows nothing of actions."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import NoReturn

from onnxbuild.base.atomic import default_mode, temporary_file, write_all
from onnxbuild.base.digest import BLOCK, digest_file, list_files
from onnxbuild.store.artifact import Artifact, Blob


class CorruptBlobError(Exception):
    """A blob is missing, or its bytes are not those of its name; it was set aside."""

    def __init__(self, digest: str, name: str) -> None:
        super().__init__(f"blob {digest} ({name}) is missing or altered")
        self.digest = digest


class BlobStore:
    """The folder of blobs. Nothing in it knows an absolute path, so it can be moved, copied and shared."""

    def __init__(self, root: Path) -> None:
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

    def add_file(self, source: Path) -> Blob:
        """Copy a file in, hashing while writing; fsynced and renamed, so that a crash leaves no partial blob.

        A blob that is there already is replaced: perhaps it was altered, and `gc` sees that it is young again.
        """
        self.temporary.mkdir(parents=True, exist_ok=True)
        hasher, size = hashlib.sha256(), 0
        with temporary_file(self.temporary) as (out, temporary), source.open("rb", buffering=0) as file:
            while block := file.read(BLOCK):
                hasher.update(block)
                write_all(out, block)
                size += len(block)
            os.fchmod(out.fileno(), 0o444)
            os.fsync(out.fileno())
            blob = Blob(hasher.hexdigest(), size)
            target = self.path(blob.digest)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.rename(target)
        return blob

    def add_folder(self, folder: Path) -> Artifact:
        """Store every file below `folder` and return the artifact they make."""
        return Artifact({name: self.add_file(folder / name) for name in list_files(folder)})

    def verify(self, blob: Blob, name: str = "") -> None:
        """Read the blob and raise CorruptBlobError, setting it aside, when it is not what its name says."""
        if not self.has(blob) or digest_file(self.path(blob.digest)) != blob.digest:
            self._set_aside(blob, name)

    def lay_out(self, artifact: Artifact, folder: Path, *, writable: bool = False) -> None:
        """Copy an artifact's files below `folder`, verifying each byte that is consumed.

        Always copies, never links: `onnx.load` refuses linked external data, and a tool that writes in place
        must not reach the store. Raises CorruptBlobError, with the blob set aside.
        """
        for name, blob in artifact.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not self.has(blob) or self._copy(blob, target) != blob.digest:
                self._set_aside(blob, name)
            target.chmod(default_mode(0o666) if writable else 0o444)

    def _copy(self, blob: Blob, target: Path) -> str:
        hasher = hashlib.sha256()
        with self.path(blob.digest).open("rb", buffering=0) as file, target.open("wb", buffering=0) as out:
            while block := file.read(BLOCK):
                hasher.update(block)
                write_all(out, block)
        return hasher.hexdigest()

    def _set_aside(self, blob: Blob, name: str) -> NoReturn:
        """Move an altered blob out of the way, unless another process has put a sound one there meanwhile."""
        path = self.path(blob.digest)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if not path.is_file() or digest_file(path) != blob.digest:
                self.aside.mkdir(parents=True, exist_ok=True)
                path.replace(self.aside / blob.digest)
        raise CorruptBlobError(blob.digest, name)
