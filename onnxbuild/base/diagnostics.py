"""Problems as values: what happened, where, why, and the edit or command that mends it; knows nothing of printing."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import msgspec


class Severity(enum.Enum):
    """How grave a diagnostic is."""

    ERROR = "error"
    WARNING = "warning"


class Place(msgspec.Struct, frozen=True, order=True):
    """A position in a text file; `line` and `column` count from 1, `file` is as the user would name it."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Diagnostic(msgspec.Struct, frozen=True, kw_only=True):
    """One problem: `message` is what happened, `note` why, `hint` the edit or command that mends it.

    `code` is a stable kebab-case name; `context` is the line of the file that `place` points into.
    """

    code: str
    message: str
    place: Place | None = None
    context: str | None = None
    note: str | None = None
    hint: str | None = None
    severity: Severity = Severity.ERROR


class Remark(msgspec.Struct, frozen=True):
    """What a stage or a tool warned of: a kebab-case `code` (such as `no-effect`) and one sentence."""

    code: str
    message: str


class UserError(Exception):
    """The call, a recipe or a file it names is wrong; carries every diagnostic found (exit code 2)."""

    def __init__(self, diagnostics: Diagnostic | Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = (
            (diagnostics,) if isinstance(diagnostics, Diagnostic) else tuple(diagnostics)
        )
        super().__init__("; ".join(d.message for d in self.diagnostics))


class StageFailure(Exception):
    """A stage could not do its work for a reason that is not our bug (exit code 1).

    `code` is kebab-case; `tool` names the library that failed, `node` the graph node where it is known;
    `traceback` is the user's own traceback, from the user's first frame, when user code raised.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        tool: str | None = None,
        node: str | None = None,
        traceback: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint
        self.tool, self.node, self.traceback = tool, node, traceback


def did_you_mean(word: str, known: Sequence[str]) -> str | None:
    """Return a hint that names the known word nearest to `word`, or None when none is near."""
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else None
