"""Names from models and recipes as harmless markup: escaped, isolated from the text's direction, long ones folded."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

SHORT = 30
"""Characters up to which a name stays on one line where the screen is wide enough."""
LONG = 72
"""Characters above which a name is folded, with the whole of it one click away."""
CUT = 300
"""Characters above which a name is cut on the page; the JSON twin has it whole."""

_CONTROL = "\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff"
_DIRECTION = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_UNPRINTABLE = re.compile(f"[{_CONTROL}]")
_MISLEADING = re.compile(f"[{_CONTROL}{_DIRECTION}]")
_WORD = re.compile(r"\S{40,}")
_JOINT = re.compile(r"(?<=[./:_@-])(?=[^\s./:_@0-9-])")


def visible(text: str) -> str:
    """Return `text` with what HTML cannot hold, and what would turn our own words around, as codes ("[U+202E]").

    This is for names inside sentences and attributes; `markup_name` isolates a name instead of changing it.
    """
    if text.isascii() and text.isprintable():
        return text
    return _MISLEADING.sub(_code, text)


def markup_name(name: str, fold: int | None = LONG) -> Markup:
    """Return a name from outside: isolated, and folded into a <details> when longer than `fold` characters.

    `fold` None is for names inside links and summaries, where nothing can be folded: very long ones are cut.
    """
    text = _UNPRINTABLE.sub(_code, name)
    if fold is None and len(text) > CUT:
        text = text[:CUT] + "…"
    if fold is None or len(text) <= fold:
        short = ' class="short"' if len(text) <= SHORT else ""
        return Markup(f"<bdi{short}>{_breakable(text)}</bdi>")  # noqa: S704  # escaped by _breakable
    head = _breakable(text[: fold - 20].rstrip())
    whole = text if len(text) <= CUT else f"{text[:CUT]}… ({len(text):,} characters, whole in the JSON twin)"
    inside = f"<summary><bdi>{head}</bdi>…</summary><bdi>{_breakable(whole)}</bdi>"
    return Markup(f'<details class="name">{inside}</details>')  # noqa: S704  # escaped by _breakable


def markup_text(text: str) -> Markup:
    """Return text from outside for a table's cell: very long words may break, very long texts are cut."""
    if len(text) < 40:
        return escape(visible(text))
    shown = visible(text if len(text) <= CUT else f"{text[:CUT]}… ({len(text):,} characters, whole in the JSON twin)")
    parts, at = [], 0
    for word in _WORD.finditer(shown):
        pieces = (shown[i : min(i + 16, word.end())] for i in range(word.start(), word.end(), 16))
        parts += [escape(shown[at : word.start()]), Markup("<wbr>").join(pieces)]
        at = word.end()
    return Markup("").join([*parts, escape(shown[at:])])


def _code(match: re.Match[str]) -> str:
    return f"[U+{ord(match[0]):04X}]"


def _breakable(text: str) -> str:
    """Return markup that lets a line end after the characters that join the parts of a name.

    What is copied stays the same.
    """
    if text.isalnum():
        return text
    return "<wbr>".join([str(escape(part)) for part in _JOINT.split(text)])


def shorten(text: str, limit: int) -> str:
    """Return `text`, with its middle left out when it has more than `limit` characters."""
    if len(text) <= limit:
        return text
    keep = limit - 1
    return f"{text[: keep - keep // 3]}…{text[len(text) - keep // 3 :]}"


def script_json(data: bytes) -> Markup:
    """Return JSON for the inside of a <script>: no character in it can end the element or start a comment."""
    text = data.decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  # escaped above
