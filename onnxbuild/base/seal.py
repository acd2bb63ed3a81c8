"""Small files that know when they were altered: a first line with kind, format and SHA-256, then the content.

A digit that flips in a measurement or in a digest would be believed; under a seal it makes the file unreadable, and all
that is kept this way can be made again.
"""

from __future__ import annotations

import json

from onnxbuild.base.digest import digest_bytes


class BrokenSealError(Exception):
    """The file was cut short or altered, or is no sealed file at all."""


class OtherFormatError(Exception):
    """The file is of another `format` than the reader's; nothing is known of its content."""

    def __init__(self, found: int) -> None:
        super().__init__(f"format {found}")
        self.format = found


def seal(content: bytes, kind: str, version: int) -> bytes:
    """Return `content` with its first line; `version` is the format of the content."""
    return _line(content, kind, version) + content


def unseal(data: bytes, kind: str, version: int) -> memoryview:
    """Return the content of a sealed file, which may be long, so it is not copied.

    Raises OtherFormatError when its first line is whole and names another format, BrokenSealError for all else.
    """
    end = data.find(b"\n") + 1
    line, content = data[:end], memoryview(data)[end:]
    try:
        found = json.loads(line)["format"]
    except (ValueError, TypeError, KeyError):
        raise BrokenSealError from None
    if not isinstance(found, int) or line != _line(content, kind, found):
        raise BrokenSealError
    if found != version:
        raise OtherFormatError(found)
    return content


def _line(content: bytes | memoryview, kind: str, version: int) -> bytes:
    digest = digest_bytes(f"{kind} {version}\n".encode(), content)
    return json.dumps({"kind": kind, "format": version, "sha256": digest}).encode() + b"\n"
