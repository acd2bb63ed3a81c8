"""SHA-256 of bytes, files and folders, never truncated; knows nothing of what they hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

BLOCK = 1 << 20


def digest_bytes(data: bytes, *more: bytes | memoryview) -> str:
    """Return the hexadecimal SHA-256 of `data` and what follows it."""
    hasher = hashlib.sha256(data)
    for each in more:
        hasher.update(each)
    return hasher.hexdigest()


def digest_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content, read in blocks."""
    hasher = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            hasher.update(block)
    return hasher.hexdigest()


def list_files(folder: Path) -> list[str]:
    """Return the POSIX paths of all files below `folder`, relative to it, sorted; byte-code caches are left out."""
    return sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts
    )
