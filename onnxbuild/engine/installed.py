"""Which distributions are installed, and in what versions, from the folders on the module path that describe them.

It finds what importlib.metadata finds there, whose import alone takes longer than Python to start.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from pathlib import Path

ALIASES = {"onnxruntime": ("onnxruntime-gpu", "onnxruntime"), "tensorflow": ("tensorflow-cpu", "tensorflow")}
"""Distributions that deliver the same import package."""


def installed_version(distribution: str) -> str:
    """Return the version of `distribution`, or of the one installed in its stead, or "absent"."""
    found = find_description(distribution)
    return _version(found) if found is not None else "absent"


def find_description(distribution: str) -> Path | None:
    """Return the file that describes a distribution, or the one installed in its stead, or None."""
    for alias in ALIASES.get(distribution, (distribution,)):
        for folder in sys.path:
            found = _descriptions(folder or ".", _changed(folder or ".")).get(_plain(alias))
            if found is not None:
                return _file(Path(folder, found))
    return None


def _file(description: Path) -> Path:
    if description.suffix.lower() == ".dist-info":
        return description / "METADATA"
    return description / "PKG-INFO" if description.is_dir() else description


def _version(description: Path) -> str:
    try:
        with description.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.lower() == "version":
                    return value.strip()
                if not line.strip():
                    break
    except OSError:
        pass
    return "unknown"


@lru_cache
def _descriptions(folder: str, changed: int) -> dict[str, str]:
    """Return the names of what describes distributions in a folder as it is since `changed`, by their plain names."""
    try:
        entries = [*Path(folder).iterdir()]
    except OSError:
        return {}
    found: dict[str, str] = {}
    for entry in entries:
        if entry.name.lower().endswith((".dist-info", ".egg-info")):
            found.setdefault(_plain(entry.stem.partition("-")[0]), entry.name)
    return found


def _changed(folder: str) -> int:
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return 0


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()
