"""Diagnostics as GitHub workflow commands, which a pull request shows on the lines they point to; prints nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path

from onnxbuild.base.diagnostics import Diagnostic

_UNPRINTABLE = re.compile("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def workflow_command(diagnostic: Diagnostic, prefix: str = "") -> str:
    """Return one line that GitHub shows as an annotation; `prefix` leads from the repository to the place's file."""
    properties = {"title": f"onnxbuild {diagnostic.code}"}
    if (place := diagnostic.place) is not None:
        file = os.path.normpath(os.path.join(prefix, place.file))  # noqa: PTH118  # normpath has no twin in pathlib
        properties = {"file": file, "line": str(place.line), "col": str(place.column)} | properties
    written = ",".join(f"{name}={_property(text)}" for name, text in properties.items())
    text = "\n".join(sentences(diagnostic))
    return f"::{diagnostic.severity.value} {written}::{_data(text)}"


def sentences(diagnostic: Diagnostic) -> list[str]:
    """Return message, note and hint, a line each, for readers that have one text for all of it."""
    lines = [diagnostic.message]
    lines += [f"note: {diagnostic.note}"] if diagnostic.note is not None else []
    return lines + ([f"hint: {diagnostic.hint}"] if diagnostic.hint is not None else [])


def prefix_of(root: Path, start: str | None = None) -> str:
    """Return the way from the repository (GITHUB_WORKSPACE, else the working directory) to a project's root."""
    return os.path.relpath(root.resolve(), Path(start or os.environ.get("GITHUB_WORKSPACE") or ".").resolve())


def _data(text: str) -> str:
    """Return text with what would end the command, or begin another, as GitHub's codes."""
    shown = _UNPRINTABLE.sub("�", text.replace("\t", " "))
    return shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
