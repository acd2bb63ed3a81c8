"""Diagnostics as text (position, message, the line with a caret, note, hint) and as JSON; prints nothing."""

from __future__ import annotations

import unicodedata

from onnxbuild.base.codec import Json, to_builtins
from onnxbuild.base.diagnostics import Diagnostic, Severity

_COLORS = {Severity.ERROR: "31", Severity.WARNING: "33"}
_WIDEST = 160


def render(diagnostic: Diagnostic, color: bool = False) -> str:
    """Return the diagnostic on a few lines, without a final newline; `color` adds ANSI colours."""

    def paint(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if color else text

    severity = diagnostic.severity
    head = paint(f"{severity.value}[{diagnostic.code}]", f"1;{_COLORS[severity]}")
    place = f"{paint(str(diagnostic.place), '1')}: " if diagnostic.place is not None else ""
    lines = [f"{place}{head}: {printable(diagnostic.message)}"]
    if diagnostic.place is not None and diagnostic.context is not None and diagnostic.context.strip():
        line, caret = _excerpt(diagnostic.context, diagnostic.place.column)
        number = str(diagnostic.place.line)
        lines.append(f"  {paint(number + ' |', '2')} {line}")
        lines.append(f"  {paint(' ' * len(number) + ' |', '2')} {' ' * caret}{paint('^', f'1;{_COLORS[severity]}')}")
    if diagnostic.note is not None:
        lines.append(f"  note: {printable(diagnostic.note)}")
    if diagnostic.hint is not None:
        lines.append(f"  {paint('hint', '36')}: {printable(diagnostic.hint)}")
    return "\n".join(lines)


def diagnostic_json(diagnostic: Diagnostic) -> Json:
    """Return the diagnostic as plain values: place as file, line and column; what is absent is null."""
    value: Json = to_builtins(diagnostic)
    return value


def printable(text: str) -> str:
    """Return the text without what would move a terminal's cursor: tabs and line ends as spaces, the rest as �."""
    spaced = "".join(" " if character in "\t\r\n" else character for character in text)
    return "".join("�" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in spaced)


def _excerpt(line: str, column: int) -> tuple[str, int]:
    """Return the part of the line around the column, and the cells before it: tabs are one, wide characters two."""
    start = max(0, column - 1 - _WIDEST // 2) if len(line) > _WIDEST else 0
    before = printable(line[start : column - 1])
    shown = printable(line[start : start + _WIDEST])
    lead = "…" if start else ""
    return lead + shown, len(lead) + sum(_width(character) for character in before)


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
