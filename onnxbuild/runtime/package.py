"""A delivered folder as its manifest.json describes it; opens no session."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxbuild.runtime.errors import PackageError

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Axis:
    """The sizes that a dynamic axis was declared for, and proved at."""

    max: int
    min: int = 1
    multiple_of: int = 1

    def __str__(self) -> str:
        steps = f" in steps of {self.multiple_of}" if self.multiple_of > 1 else ""
        return f"{self.min} to {self.max}{steps}"

    def takes(self, size: int) -> bool:
        """Tell whether a size is one of them."""
        return self.min <= size <= self.max and size % self.multiple_of == 0


@dataclass(frozen=True)
class Value:
    """One input or output; a name in `shape` is a dynamic axis, None a size that only running shows."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join('?' if dim is None else str(dim) for dim in self.shape)}]"


@dataclass(frozen=True)
class Package:
    """A delivered model; `manifest` is all that manifest.json says."""

    folder: Path
    model: Path
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    axes: Mapping[str, Axis]
    manifest: Mapping[str, Any]

    def bytes_of(self, model: str) -> int:
        """Return the bytes of the model in the file of this name, with its external data, without other formats'."""
        return sum(file["bytes"] for name, file in self.manifest["files"].items() if name.startswith(model))

    def compiled_for(self, provider: str) -> Mapping[str, Any] | None:
        """Return what the manifest has of the model that a provider compiled ahead; None where it holds none."""
        found: Mapping[str, Any] | None = self.manifest.get("compiled", {}).get(provider)
        return found if found is not None and found["file"] is not None else None


def read_package(folder: Path) -> Package:
    """Read the folder's manifest. Raises PackageError."""
    file = folder / MANIFEST
    try:
        manifest = json.loads(file.read_bytes())
        if manifest["format"] != FORMAT:
            raise PackageError(f"{file} has format {manifest['format']}, and this onnxbuild.runtime reads {FORMAT}")
        return Package(
            folder=folder,
            model=folder / manifest["model"],
            inputs=tuple(map(_value, manifest["inputs"])),
            outputs=tuple(map(_value, manifest["outputs"])),
            axes={name: Axis(**bounds) for name, bounds in manifest["dynamic_axes"].items()},
            manifest=manifest,
        )
    except OSError as error:
        raise PackageError(
            f"{folder} is not a delivered package: {MANIFEST} cannot be read ({error.strerror})"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise PackageError(f"{file} is not a manifest that onnxbuild wrote: {error}") from None


def verify_files(package: Package) -> None:
    """Raise PackageError unless every file is, byte for byte, the one that was delivered."""
    for name, delivered in package.manifest["files"].items():
        file = package.folder / name
        try:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise PackageError(f"{file} cannot be read: {error.strerror}") from None
        if digest != delivered["sha256"]:
            raise PackageError(f"{file} is not what was delivered: SHA-256 {digest}, expected {delivered['sha256']}")


def _value(entry: Mapping[str, Any]) -> Value:
    return Value(entry["name"], entry["dtype"], tuple(entry["shape"]))
