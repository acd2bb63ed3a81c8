"""Lines of a recipe as a page shows them: all, those that make one variant, those that differ; parses no YAML."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from onnxbuild.report.facts import ReportFacts, RewrittenFacts, TargetFacts

MOST_CHARACTERS = 20_000
"""Of a recipe on a page; the JSON twin has all of it."""
_ENDS = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line in YAML."""
_KINDS = {"+": "added", "-": "removed", "@": "apart"}


@dataclass(frozen=True)
class Line:
    """One line; `kind` is added, removed, apart (something between was left out) or nothing."""

    text: str
    number: int | None = None
    kind: str = ""


@dataclass(frozen=True)
class Difference:
    """How the recipe differs from the one with which some variants were accepted; a sentence where that is unknown."""

    title: str
    lines: tuple[Line, ...]
    unknown: str


def all_lines(facts: ReportFacts) -> tuple[Line, ...]:
    """Return the recipe's lines, up to so many characters."""
    return tuple(Line(text, number) for number, text in enumerate(_split(facts), 1))


def limit_line(facts: ReportFacts, target: TargetFacts, gate: str) -> int | None:
    """Return the line of a gate's limit, by its name in a lock; None where it is not on the page."""
    line = target.limit_lines.get(gate)
    return line if line is not None and line <= len(_split(facts)) else None


def variant_lines(facts: ReportFacts, target: TargetFacts) -> tuple[Line, ...]:
    """Return the lines that make one of several variants, with the keys around them; what is left out leaves a mark."""
    if len(facts.targets) < 2 or not target.lines:
        return ()
    texts = _split(facts)
    every = {line for other in facts.targets for line in other.lines}
    own = _with_comments(texts, _with_keys(texts, _continued(texts, {*target.lines}, every)))
    shown: list[Line] = []
    for number, text in enumerate(texts, 1):
        if number in own:
            shown.append(Line(text, number))
        elif text.strip() and shown and shown[-1].kind != "apart":
            shown.append(Line("⋮", None, "apart"))
    return tuple(shown)


def differences(facts: ReportFacts) -> tuple[Difference, ...]:
    """Return how the recipe differs from each text with which variants were accepted."""
    return tuple(_difference(facts, found) for found in facts.rewritten)


def _difference(facts: ReportFacts, found: RewrittenFacts) -> Difference:
    of = f" with {', '.join(found.variants)}" if len(found.variants) < len(facts.targets) else ""
    title = f"Lines of the recipe that are not as they were accepted{of}"
    if found.lines is None:
        said = f"The recipe is not as it was accepted{of}; that text is not among its last revisions in git."
        return Difference(title, (), said)
    return Difference(title, tuple(_changed(line) for line in found.lines), "")


def _changed(text: str) -> Line:
    kind = _KINDS.get(text[:1], "")
    return Line("⋮" if kind == "apart" else text, None, kind)


def _split(facts: ReportFacts) -> list[str]:
    return _ENDS.split((facts.text or "")[:MOST_CHARACTERS].rstrip()) if facts.text else []


def _continued(texts: Sequence[str], own: set[int], every: Collection[int]) -> set[int]:
    """Add the lines that go on with one of `own`: further in, or brackets that close, and no other target's."""
    found, indent = set(own), 0
    for number, text in enumerate(texts, 1):
        if number in own:
            indent = _indent(text)
        elif number - 1 in found and number not in every and (_is_closing(text) or _indent(text) > indent):
            found.add(number)
    return found


def _is_closing(text: str) -> bool:
    return bool(text.strip()) and not text.strip(" ]})")


def _with_keys(texts: Sequence[str], own: set[int]) -> set[int]:
    """Add the keys that lines are below."""
    found = set(own)
    for number in sorted(own & {*range(1, len(texts) + 1)}):
        indent = _indent(texts[number - 1])
        for above in range(number - 1, 0, -1):
            text = texts[above - 1]
            if text.strip() and not text.lstrip().startswith("#") and _indent(text) < indent:
                found.add(above)
                indent = _indent(text)
            if indent == 0:
                break
    return found


def _with_comments(texts: Sequence[str], own: Iterable[int]) -> set[int]:
    """Add the comments that stand right above lines."""
    found = set(own)
    for number in own:
        above = number - 1
        while above > 0 and texts[above - 1].lstrip().startswith("#"):
            found.add(above)
            above -= 1
    return found


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip(" "))
