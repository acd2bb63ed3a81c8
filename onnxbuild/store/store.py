"""The store as one value: blobs, traces and locks below one folder."""

from __future__ import annotations

from pathlib import Path

from onnxbuild.base.atomic import sweep_files
from onnxbuild.store.blobs import BlobStore
from onnxbuild.store.locks import KeyLock
from onnxbuild.store.traces import TraceStore

PARTS = ("blobs", "corrupt", "leases", "locks", "tmp", "traces")
"""The folders that a store consists of."""


class Store:
    """Everything that may be shared between projects; stamps, logs and scratch folders are not in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = BlobStore(root)
        self.traces = TraceStore(root)

    def sweep(self) -> None:
        """Remove unfinished files whose writers died."""
        sweep_files(self.root / "tmp")

    def lock(self, key: str) -> KeyLock:
        """Return the lock of `key`, not yet taken."""
        return KeyLock(self.root, key)
