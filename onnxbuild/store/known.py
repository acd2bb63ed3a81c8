"""Files whose content is known already, as long as their stat records say that nobody wrote to them; reads nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from onnxbuild.store.artifact import Blob


class KnownFile(msgspec.Struct, frozen=True):
    """A blob that was read or written whole in this run, and the stat record of the file at that moment.

    Without the time of the last change of the inode: another hard link to it changes that.
    """

    blob: Blob
    device: int
    inode: int
    modified: int


class KnownFiles:
    """What this run has hashed; a blob is verified when the run first consumes it, not each time."""

    def __init__(self, files: Iterable[KnownFile] = ()) -> None:
        self._files = {(file.device, file.inode): file for file in files}

    def add(self, files: Iterable[KnownFile]) -> None:
        """Take over what another process of the same run knows."""
        self._files.update({(file.device, file.inode): file for file in files})

    def note(self, path: Path, blob: Blob) -> None:
        """Remember that the file at `path` holds `blob`."""
        stat = path.stat()
        if stat.st_size == blob.size:
            self._files[stat.st_dev, stat.st_ino] = KnownFile(blob, stat.st_dev, stat.st_ino, stat.st_mtime_ns)

    def find(self, path: Path) -> Blob | None:
        """Return what the file at `path` is known to hold, None when it is not known or was written to since."""
        known = self.get(path)
        return known.blob if known is not None else None

    def get(self, path: Path) -> KnownFile | None:
        """Return what is known of the file at `path`, None as in `find`."""
        try:
            stat = path.stat()
        except FileNotFoundError:  # somebody else's gc or repair
            return None
        file = self._files.get((stat.st_dev, stat.st_ino))
        if file is None or (file.blob.size, file.modified) != (stat.st_size, stat.st_mtime_ns):
            return None
        return file
