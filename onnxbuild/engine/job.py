"""What the engine hands to a worker and gets back, as values that cross a process boundary."""

from __future__ import annotations

from pathlib import Path

import msgspec

from onnxbuild.base.diagnostics import Remark
from onnxbuild.engine.events import Failure
from onnxbuild.recipe.types import Choice
from onnxbuild.store.artifact import Artifact
from onnxbuild.store.known import KnownFile
from onnxbuild.store.traces import Discovered

RESULT = "result.json"
PROGRESS = "progress.txt"
"""In a job's folder: its result, and lines on how far its stage is."""
READ_OUTSIDE = "read-outside-project"
"""The code of the remark, or of the failure where the recipe says `strict_reads`."""
REFUSED = 128
"""An exit status of this and an error's number says that the result could not be written."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One action to run. All paths are absolute; `params` is the stage's parameters in JSON.

    `project`, `folder` (the recipe's) and `hidden` (folders whose files are never inputs) are for user code and for
    what it is seen to read, of which `strict_reads` forbids what lies outside the project; `environment` is all that
    user code sees; `memory` is in bytes, `seconds` of wall time; `known` are blobs that the run has verified already;
    `locked`, `remeasure` and `machine` are as the stage's workspace has them.
    """

    action: str
    stage: str
    params: msgspec.Raw
    inputs: dict[str, Artifact]
    files: dict[str, str]
    store: str
    project: str
    folder: str
    hidden: tuple[str, ...]
    scratch: str
    log: str
    environment: dict[str, str]
    reads: tuple[str, ...]
    user_code: bool
    memory: int
    seconds: float
    strict_reads: bool = False
    known: tuple[KnownFile, ...] = ()
    locked: Choice | None = None
    remeasure: bool = False
    machine: str = ""


NO_FACTS = msgspec.Raw(b"null")


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a job. `corrupt` is the digest of an input blob that was not what its name says.

    `known` are the blobs that it verified or wrote.
    """

    facts: msgspec.Raw = NO_FACTS
    outputs: dict[str, Artifact] = {}
    warnings: tuple[Remark, ...] = ()
    discovered: tuple[Discovered, ...] = ()
    failure: Failure | None = None
    corrupt: str | None = None
    known: tuple[KnownFile, ...] = ()


def repro_of(log: str | Path) -> Path:
    """Return the folder beside an action's log that shows the fault with which its last run failed, if it did."""
    return Path(log).with_suffix(".repro")
