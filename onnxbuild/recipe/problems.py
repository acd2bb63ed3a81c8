"""The diagnostics of one load, collected with the line they point into; knows nothing of what is checked."""

from __future__ import annotations

import re

from onnxbuild.base.diagnostics import Diagnostic, Place, Severity

_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_LONGEST_CONTEXT = 400


class Problems:
    """A list of diagnostics in which each problem stands once, however many variants show it."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, Place | None], Diagnostic] = {}
        self._lines: dict[str, list[str]] = {}

    def add_text(self, file: str, text: str) -> None:
        """Remember the text of a file, so that diagnostics can show its lines."""
        self._lines[file] = _LINE_BREAK.split(text)

    def error(
        self, code: str, message: str, place: Place | None, *, note: str | None = None, hint: str | None = None
    ) -> None:
        """Add an error at `place`."""
        self._add(Diagnostic(code=code, message=message, place=place, context=self.line(place), note=note, hint=hint))

    def warning(
        self, code: str, message: str, place: Place | None, *, note: str | None = None, hint: str | None = None
    ) -> None:
        """Add a warning at `place`."""
        context = self.line(place)
        self._add(
            Diagnostic(
                code=code, message=message, place=place, context=context, note=note, hint=hint,
                severity=Severity.WARNING,
            )
        )  # fmt: skip

    def extend(self, other: Problems) -> None:
        """Add all that `other` found."""
        for diagnostic in other.diagnostics:
            self._add(diagnostic)

    @property
    def has_errors(self) -> bool:
        """Whether anything graver than a warning was found."""
        return any(d.severity is Severity.ERROR for d in self._found.values())

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Everything found, by file and position."""
        nowhere = Place("", 0, 0)
        return tuple(sorted(self._found.values(), key=lambda d: d.place or nowhere))

    def line(self, place: Place | None) -> str | None:
        """Return the line of a place, to be shown with it; None where it is not known or too long."""
        if place is None:
            return None
        lines = self._lines.get(place.file, [])
        line = lines[place.line - 1] if 0 < place.line <= len(lines) else None
        return line if line is None or len(line) <= _LONGEST_CONTEXT else None

    def _add(self, diagnostic: Diagnostic) -> None:
        self._found.setdefault((diagnostic.code, diagnostic.message, diagnostic.place), diagnostic)
