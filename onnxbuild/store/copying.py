"""Copying a file while hashing it, both at once; knows no store."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from onnxbuild.base.atomic import write_all
from onnxbuild.base.digest import BLOCK, digest_file

LARGE = 16 * BLOCK
"""Bytes from which other threads are worth their start."""
PIECE = 2 * BLOCK
"""Bytes that the kernel copies at once, while the piece before is hashed."""
SYNC_EVERY = 8 * BLOCK
"""Bytes after which what was written is sent to the disk, rather than all at the end."""
_NO_KERNEL_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


def copy_hashing(source: BinaryIO, out: BinaryIO, *, sync: bool = False) -> tuple[str, int]:
    """Copy `source` to the empty `out`, both unbuffered, and return the SHA-256 and the size of what was written.

    `sync` leaves the data on the disk. `out` must be readable: a large file is copied by the kernel in one thread and
    sent to the disk in another, while what has arrived is hashed in this one.
    """
    hasher = hashlib.sha256()
    is_large = os.fstat(source.fileno()).st_size >= LARGE
    size = _copy_large(source, out, hasher.update, sync=sync) if is_large else 0
    while block := source.read(BLOCK):  # all of a small file, or where the kernel copies nothing
        hasher.update(block)
        write_all(out, block)
        size += len(block)
    if sync:
        os.fsync(out.fileno())
    return hasher.hexdigest(), size


def _copy_large(source: BinaryIO, out: BinaryIO, seen: Callable[[memoryview], object], *, sync: bool) -> int:
    """Copy as much as the kernel does, show all of it as it was written, and return how many bytes that are."""
    from concurrent.futures import ThreadPoolExecutor  # brings logging, which a make of small files does without

    block = memoryview(bytearray(BLOCK))
    done = synced = 0
    with ThreadPoolExecutor(1) as copier, ThreadPoolExecutor(1) as syncer:
        piece = copier.submit(_copy_piece, source.fileno(), out.fileno())
        while arrived := piece.result():
            piece = copier.submit(_copy_piece, source.fileno(), out.fileno())
            end = done + arrived
            while done < end:
                count = os.preadv(out.fileno(), [block[: min(BLOCK, end - done)]], done)
                seen(block[:count])
                done += count
            if sync and done - synced >= SYNC_EVERY:
                syncer.submit(_sync, out.fileno())
                synced = done
    return done


def _copy_piece(source: int, out: int, most: int = PIECE) -> int:
    """Let the kernel copy a piece from where both files are; return its bytes, 0 at the end or where it cannot."""
    try:
        return os.copy_file_range(source, out, most)
    except AttributeError:  # not on macOS
        return 0
    except OSError as error:
        if error.errno not in _NO_KERNEL_COPY:
            raise
        return 0


def copy_quickly(source: Path, target: Path) -> None:
    """Copy a file inside the kernel, which shares the blocks where the file system can."""
    with source.open("rb", buffering=0) as file, target.open("wb", buffering=0) as out:
        while _copy_piece(file.fileno(), out.fileno(), 1 << 30):
            pass
        while block := file.read(BLOCK):  # nothing is left, but where the kernel copies nothing
            write_all(out, block)


def hash_and_sync(file: BinaryIO, path: Path) -> str:
    """Return the SHA-256 of a file while its data goes to the disk; it is there when this returns."""
    if os.fstat(file.fileno()).st_size < LARGE:
        os.fsync(file.fileno())
        return digest_file(path)
    from concurrent.futures import ThreadPoolExecutor  # as above

    with ThreadPoolExecutor(1) as syncer:
        synced = syncer.submit(os.fsync, file.fileno())
        digest = digest_file(path)
        synced.result()
    return digest


_sync = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter
