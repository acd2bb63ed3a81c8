"""What a run tells while it goes on, as values; whoever prints or writes them decides how."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator

import msgspec

from onnxbuild.base.diagnostics import Remark

STOPPED = "an earlier action failed"
"""Why an action is not begun that needs nothing of what failed."""


class DecisionKind(enum.Enum):
    """What is to be done with an action."""

    UP_TO_DATE = "up-to-date"
    RESTORE = "restore"
    RUN = "run"
    WAITS = "waits"
    BLOCKED = "blocked"


class Status(enum.Enum):
    """How an action ended."""

    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why an action failed; see base.diagnostics.StageFailure.

    `log` is relative to the project, `place` where its recipe asks for the action: file:line:column.
    """

    code: str
    message: str
    hint: str | None = None
    tool: str | None = None
    node: str | None = None
    traceback: str | None = None
    log: str | None = None
    place: str | None = None


class PlanMade(msgspec.Struct, frozen=True, tag_field="event", tag="plan"):
    """The targets and the number of actions, before anything is decided."""

    targets: tuple[str, ...]
    actions: int


class ActionStarted(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="start"):
    """An action's worker starts.

    `estimate` is what it took last time in seconds, None when it was never measured; `path` what is expected of it and
    of the longest chain of actions after it.
    """

    action: str
    stage: str
    targets: tuple[str, ...]
    reasons: tuple[str, ...]
    estimate: float | None = None
    path: float = 0.0


class ActionProgress(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="progress"):
    """How far an action is whose stage tells."""

    action: str
    message: str


class ActionDone(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="action"):
    """An action was decided and, where it had to be, done.

    `estimate` is what it is expected to take in seconds, where it was only decided that it must run or waits.
    """

    action: str
    stage: str
    targets: tuple[str, ...]
    decision: DecisionKind
    status: Status
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0
    warnings: tuple[Remark, ...] = ()
    failure: Failure | None = None
    on: tuple[str, ...] = ()
    estimate: float | None = None


class Gate(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="gate"):
    """One gate of one target, judged. `warnings` are doubts that change no verdict, with their codes."""

    target: str
    gate: str
    provider: str | None
    limit: str
    measured: float | str | None
    verdict: str
    source: float | None = None
    margin: float | None = None
    reason: str | None = None
    interval: tuple[float, float | None] | None = None
    warnings: tuple[Remark, ...] = ()


class TargetJudged(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="verdict"):
    """What a target came to. `output` is relative to the project, None when failed.

    `reason` tells of the action that stopped it, if one did, which no gate can;
    `culprits` are the layers whose restoring gains most, in words, where a tolerance was missed; `hint`: what to do.
    """

    target: str
    verdict: str
    output: str | None
    sha256: str | None
    reason: str | None = None
    culprits: tuple[str, ...] = ()
    hint: str | None = None


class Notice(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="notice"):
    """Something a person should know that belongs to no action."""

    code: str
    message: str


class LockCompared(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="lock"):
    """A target was held against what was accepted of it; `differences` are in words.

    `notes` say what was compared otherwise than byte by byte, `unverified` what could not be compared here.
    """

    target: str
    agrees: bool
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()


class Retold(msgspec.Struct, frozen=True):
    """What is told of a recipe that was not walked, because nothing of it differs: many events at once.

    `lines` are they as JSON lines, in the order in which a walk tells them: ActionDone and Gate; `said` those of them
    that a terminal shows too.
    """

    lines: bytes
    said: tuple[ActionDone | Gate, ...]

    @property
    def events(self) -> Iterator[ActionDone | Gate]:
        """The events one by one."""
        return map(_RETOLD.decode, self.lines.splitlines())


_RETOLD = msgspec.json.Decoder(ActionDone | Gate)


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="rebuilt"):
    """An action was run again elsewhere. `verdict` is same, different (then `difference` names what) or failed."""

    action: str
    stage: str
    targets: tuple[str, ...]
    verdict: str
    difference: str | None = None


class RunEnded(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="end"):
    """The last line."""

    exit_code: int
    seconds: float
    ran: int
    restored: int
    up_to_date: int


Event = (
    PlanMade
    | ActionStarted
    | ActionProgress
    | ActionDone
    | Gate
    | TargetJudged
    | Notice
    | LockCompared
    | Rebuilt
    | Retold
    | RunEnded
)
Emit = Callable[[Event], None]
