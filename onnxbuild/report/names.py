"""Names from models and recipes as harmless markup: escaped, isolated from the text's direction, long ones folded."""

from __future__ import annotations

import re

from markupsafe import Markup

SHORT = 30
"""Characters up to which a name stays on one line where the screen is wide enough."""
LONG = 72
"""Characters above which a name is folded, with the whole of it one click away."""
CUT = 300
"""Characters above which a name is cut on the page; the JSON twin has it whole."""

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

_JOINT = re.compile(r"(?<=[./:_@-])(?=[^\s./:_@0-9-])")


def visible(text: str) -> str:
    """Return `text` with characters that HTML cannot hold replaced by their code in brackets, such as "[U+0000]"."""
    return _CONTROL.sub(lambda match: f"[U+{ord(match[0]):04X}]", text)


def markup_name(name: str, fold: int = LONG) -> Markup:
    """Return a name from outside: isolated, and folded into a <details> when longer than `fold` characters."""
    text = visible(name)
    if len(text) <= fold:
        whole_line = Markup(' class="short"') if len(text) <= SHORT else ""
        return Markup("<bdi{}>{}</bdi>").format(whole_line, _breakable(text))
    head = text[: fold - 20].rstrip()
    whole = text if len(text) <= CUT else f"{text[:CUT]}… ({len(text):,} characters, whole in the JSON twin)"
    return Markup('<details class="name"><summary><bdi>{}</bdi>…</summary><bdi>{}</bdi></details>').format(
        _breakable(head), _breakable(whole)
    )


def _breakable(text: str) -> Markup:
    """Allow a line to end after the characters that join the parts of a name; what is copied stays the same."""
    return Markup("<wbr>").join(_JOINT.split(text))


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
