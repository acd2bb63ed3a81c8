"""What a stage delivers: a tree of named files by content, and the digest that stands for it downstream."""

from __future__ import annotations

import msgspec

from onnxbuild.base.codec import encode
from onnxbuild.base.digest import digest_bytes


class Blob(msgspec.Struct, frozen=True):
    """One file's content: its SHA-256 and its size in bytes."""

    digest: str
    size: int


class Artifact(msgspec.Struct, frozen=True):
    """A folder's files by relative POSIX name, sorted; equal content gives an equal digest wherever it lies."""

    files: dict[str, Blob]

    @property
    def digest(self) -> str:
        """The SHA-256 over all names and contents."""
        return digest_bytes(encode(sorted((name, blob.digest) for name, blob in self.files.items())))

    @property
    def size(self) -> int:
        """The bytes of all files together."""
        return sum(blob.size for blob in self.files.values())
