"""What the system refuses to write or read, in words: a full or read-only disk is not a bug of ours; knows no file."""

from __future__ import annotations

import errno

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file grows beyond what is allowed",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "the operation is not permitted",
    errno.EIO: "the disk has an input/output error",
    errno.ENOLCK: "the file system has no locks left",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open in the whole system",
    errno.EXDEV: "one folder's parts lie on different file systems",
    errno.ENAMETOOLONG: "a name is too long for the file system",
    errno.ENOTDIR: "a file stands where a folder belongs",
    errno.EISDIR: "a folder stands where a file belongs",
    errno.EEXIST: "something else stands there already",
    errno.ESTALE: "a network file system has lost the file",
}


def describe_refusal(error: OSError) -> str | None:
    """Return one clause on what the system refused and for which file, or None when the error may be our own bug."""
    reason = _REASONS.get(error.errno or 0)
    if reason is None:
        return None
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{reason}: {names[-1]}" if names else reason
