"""Traces: what happened once under a key, and with which discovered inputs; knows nothing of how keys are made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from onnxbuild.base.atomic import write_atomically
from onnxbuild.base.codec import decode, encode
from onnxbuild.base.diagnostics import Remark
from onnxbuild.base.digest import digest_bytes
from onnxbuild.base.seal import BrokenSealError, OtherFormatError, seal, unseal
from onnxbuild.store.artifact import Artifact

FORMAT = 2
"""Of the content of a trace's file; a trace of another format does not exist for this version."""

KIND = "onnxbuild trace"
MARK = "format"


class Component(msgspec.Struct, frozen=True):
    """One labelled line of a manifest. `note` tells people where the value came from and is in no key."""

    label: str
    value: str
    note: str = ""


class Discovered(msgspec.Struct, frozen=True, order=True):
    """An input that only running showed; `digest` is its content or version.

    `kind` is file, folder (its names), place (a folder that is there, whatever is in it), glob, absent or package;
    `name` is a path relative to the project, or a distribution's name.
    """

    kind: str
    name: str
    digest: str


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """Where a trace was made: `instructions` are the CPU's instruction sets, separated by spaces, `cores` are those
    that it might use.
    """

    system: str
    machine: str
    cpu: str
    cores: int
    python: str
    instructions: str = ""

    @property
    def hardware(self) -> str:
        """The hardware class as it stands in keys: the CPU's model and instruction sets."""
        return f"{self.cpu}; {self.instructions}" if self.instructions else f"{self.cpu}; {self.machine}"


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of an action was made from and delivered; `facts` is the stage's own JSON.

    `made` is UTC in ISO format; `reasons` say why it ran; `action` is the name it had then.
    """

    key: str
    action: str
    stage: str
    manifest: tuple[Component, ...]
    discovered: tuple[Discovered, ...]
    outputs: dict[str, Artifact]
    facts: msgspec.Raw
    warnings: tuple[Remark, ...]
    reasons: tuple[str, ...]
    seconds: float
    host: Host
    made: str

    @property
    def id(self) -> str:
        """The trace's own name: one trace for each key and set of discovered digests."""
        return digest_bytes(encode([self.key, self.discovered]))


class TraceStore:
    """One small file a trace, below a folder for its key."""

    def __init__(self, root: Path) -> None:
        self.root = root / "traces"
        self.temporary = root / "tmp"

    def newer_format(self) -> int | None:
        """Return the format of the store's traces when it is newer than this version's, else None."""
        found = self._format()
        return found if found is not None and found > FORMAT else None

    def claim(self) -> bool:
        """Note in the store of which format its traces are; True when it held older ones, which count as absent now."""
        found = self._format()
        if found is not None and found >= FORMAT:
            return False
        held = self.root.is_dir() and any(self.root.iterdir())
        write_atomically(self.root / MARK, seal(b"", KIND, FORMAT), through=self.temporary)
        return held

    def _format(self) -> int | None:
        """Return the format that the store's mark tells; a damaged mark tells nothing, but each trace tells its own."""
        try:
            unseal((self.root / MARK).read_bytes(), KIND, FORMAT)
        except OtherFormatError as error:
            return error.format
        except (FileNotFoundError, NotADirectoryError, BrokenSealError):
            return None
        return FORMAT

    def find(self, key: str) -> list[Trace]:
        """Return all sound traces under `key`, newest first; one of another format or altered does not exist."""
        traces = [
            t for file in self._folder(key).glob("*.json") if (t := self._read(file)) is not None and t.key == key
        ]
        return sorted(traces, key=lambda trace: trace.made, reverse=True)

    def every(self) -> Iterator[tuple[Path, Trace | None]]:
        """Yield each trace's file with the trace, None for one that is not sound."""
        for file in sorted(self.root.glob("*/*/*.json")):
            yield file, self._read(file)

    def get(self, key: str, trace_id: str) -> Trace | None:
        """Return one trace, or None."""
        trace = self._read(self._folder(key) / f"{trace_id}.json")
        return trace if trace is not None and trace.key == key else None

    def use(self, key: str, trace_id: str) -> bool:
        """Note that a trace is used now, so that no collection takes it; False when it is gone."""
        try:
            os.utime(self._folder(key) / f"{trace_id}.json")
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            pass  # a store that cannot be written: nothing is collected there either
        return True

    def record(self, trace: Trace) -> None:
        """Write a trace, after all its blobs are in the store."""
        file = self._folder(trace.key) / f"{trace.id}.json"
        write_atomically(file, seal(encode(trace), KIND, FORMAT), through=self.temporary)

    def _folder(self, key: str) -> Path:
        return self.root / key[:2] / key

    def _read(self, file: Path) -> Trace | None:
        try:
            trace = decode(unseal(file.read_bytes(), KIND, FORMAT), Trace)
        except (FileNotFoundError, NotADirectoryError, BrokenSealError, OtherFormatError, msgspec.MsgspecError):
            return None
        return trace if trace.id == file.stem else None
