"""Copying a file while hashing it, both at once; knows no store."""

from __future__ import annotations

import errno
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from onnxbuild.base.atomic import write_all
from onnxbuild.base.digest import BLOCK, digest_file

LARGE = 16 * BLOCK
"""Bytes from which a second thread is worth its start."""
SYNC_EVERY = 64 * BLOCK
"""Bytes after which what was written is sent to the disk, rather than all at the end."""
_NO_KERNEL_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


def copy_hashing(source: BinaryIO, out: BinaryIO, *, sync: bool = False) -> tuple[str, int]:
    """Copy `source` to `out`, both unbuffered, and return the SHA-256 and the size of what was written.

    `sync` leaves the data on the disk. A large file is hashed in this thread while another writes.
    """
    hasher, size = hashlib.sha256(), 0
    if os.fstat(source.fileno()).st_size < LARGE:
        while block := source.read(BLOCK):
            hasher.update(block)
            write_all(out, block)
            size += len(block)
    else:
        with ThreadPoolExecutor(1) as writer:
            written = writer.submit(write_all, out, b"")
            while block := source.read(BLOCK):
                size += len(block)
                before, written = written, writer.submit(write_all, out, block)
                hasher.update(block)
                before.result()
                if sync and size % SYNC_EVERY < BLOCK:
                    writer.submit(_sync, out.fileno())
            written.result()
    if sync:
        os.fsync(out.fileno())
    return hasher.hexdigest(), size


def copy_quickly(source: Path, target: Path) -> None:
    """Copy a file inside the kernel, which shares the blocks where the file system can."""
    with source.open("rb", buffering=0) as file, target.open("wb", buffering=0) as out:
        left = os.fstat(file.fileno()).st_size
        while left:
            try:
                copied = os.copy_file_range(file.fileno(), out.fileno(), left)
            except OSError as error:
                if error.errno not in _NO_KERNEL_COPY:
                    raise
                copied = 0
            if not copied:  # the offsets of both have advanced together
                copy_hashing(file, out)
                return
            left -= copied


def hash_and_sync(file: BinaryIO, path: Path) -> str:
    """Return the SHA-256 of a file while its data goes to the disk; it is there when this returns."""
    if os.fstat(file.fileno()).st_size < LARGE:
        os.fsync(file.fileno())
        return digest_file(path)
    with ThreadPoolExecutor(1) as syncer:
        synced = syncer.submit(os.fsync, file.fileno())
        digest = digest_file(path)
        synced.result()
    return digest


_sync = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter
