"""Files and folders that appear whole or not at all under their final name, and leave nothing behind that stays."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PART = ".part"
"""How the names of unfinished files end."""


def write_atomically(path: Path, data: bytes, *, through: Path | None = None, durable: bool = True) -> None:
    """Write `data` to a temporary file, fsync it unless not `durable`, and rename it over `path`.

    The temporary file is beside `path`, or in the folder `through` of the same file system; see `sweep_files`.
    """
    folder = path.parent if through is None else through
    folder.mkdir(parents=True, exist_ok=True)
    with temporary_file(folder, path.name) as (file, temporary):
        write_all(file, data)
        os.fchmod(file.fileno(), default_mode(0o666))
        if durable:
            os.fsync(file.fileno())
        put_in_place(temporary, path)


def put_in_place(file: Path, final: Path) -> None:
    """Rename `file` to `final`, whose folder is made; whoever removes empty folders may do so in between."""
    for last in (False,) * 100 + (True,):
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            file.rename(final)
        except FileNotFoundError:
            if last or not file.exists():
                raise
        else:
            return


@contextmanager
def temporary_file(folder: Path, name: str = "") -> Iterator[tuple[BinaryIO, Path]]:
    """Yield a new unbuffered file in `folder`, locked as long as this process lives, and its path.

    To keep it, rename it inside the block; what is still there at the end is removed.
    """
    file, path = _new_file(folder, name)
    try:
        yield file, path
    finally:
        path.unlink(missing_ok=True)
        file.close()


def sweep_files(folder: Path) -> None:
    """Remove the unfinished files in `folder` whose writers died; those of the living are locked and stay."""
    for path in _entries(folder):
        if path.name.endswith(PART):
            with contextlib.suppress(OSError), path.open("rb") as file:  # gone meanwhile, locked, or not ours
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def hold(handle: int, path: Path) -> bool:
    """Lock an open file that was at `path`; False when somebody, who held it before, has removed it."""
    with contextlib.suppress(OSError):  # a file system without locks: nobody there sweeps either
        fcntl.flock(handle, fcntl.LOCK_EX)
    return is_at(handle, path)


def is_at(handle: int, path: Path) -> bool:
    """Tell whether the open file is the one that `path` names now."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def replace_folder(new: Path, final: Path) -> None:
    """Put the folder `new` in the place of `final`, and delete what was there; of several at once, one stays.

    Where the system can exchange two folders, `final` is whole at every moment; elsewhere it is missing for one.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    if _exchange(new, final):
        shutil.rmtree(new, ignore_errors=True)
        return
    old = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.old."))
    try:
        for number in itertools.count():
            with contextlib.suppress(FileNotFoundError):
                final.rename(old / str(number))
            try:
                new.rename(final)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            else:
                return  # else another process put its folder there since we moved the old one away
    finally:
        shutil.rmtree(old, ignore_errors=True)


def sweep_folders(parent: Path) -> None:
    """Remove what `replace_folder`, or a writer of `.NAME.new.*` folders, left in `parent` when it died.

    The caller sees to it that none of them is at work.
    """
    for path in _entries(parent):
        if path.name.startswith(".") and (".new." in path.name or ".old." in path.name) and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of `data` to an unbuffered file: one call may take less, and says so only by its result."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def default_mode(wanted: int) -> int:
    """Return `wanted` less what the user's umask takes away."""
    mask = os.umask(0)
    os.umask(mask)
    return wanted & ~mask


def _new_file(folder: Path, name: str) -> tuple[BinaryIO, Path]:
    while True:
        handle, given = tempfile.mkstemp(dir=folder, prefix=f".{name[:100]}.", suffix=PART)
        path = Path(given)
        if hold(handle, path):
            return os.fdopen(handle, "wb", buffering=0), path
        os.close(handle)  # swept between its creation and our lock


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step, or return False where the system or one of the folders is not there for it."""
    import ctypes  # as late as this: only a delivery over an older one needs it

    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if hasattr(libc, "renameat2"):  # Linux
        return bool(libc.renameat2(-100, names[0], -100, names[1], 2) == 0)  # AT_FDCWD, RENAME_EXCHANGE
    if hasattr(libc, "renamex_np"):  # macOS
        return bool(libc.renamex_np(names[0], names[1], 2) == 0)  # RENAME_SWAP
    return False


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, where the file system has hard links, or a copy of it.

    For files that nobody writes to; what replaces one of them leaves the other alone.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
