"""The text that a reader sees in a page, a line a block, and its elements; for gold files and for hostile names."""

from __future__ import annotations

import re
from html.parser import HTMLParser

INLINE = {"a", "b", "bdi", "code", "small", "span", "wbr", "button"}
HIDDEN = {"style", "script", "title", "desc", "svg"}
VOID = {"meta", "link", "wbr", "br", "input"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.outside: list[str] = []  # what is not a name on its own
        self._names = 0
        self._hidden: list[str] = []
        self._script: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs).get("id") or "code"
            self.scripts[self._script] = ""
        if tag in HIDDEN:
            self._hidden.append(tag)
        self._names += tag == "bdi"
        self._space(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self._hidden and self._hidden[-1] == tag:
            self._hidden.pop()
        if tag == "script":
            self._script = None
        self._names -= tag == "bdi"
        self._space(tag)

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[self._script] += data
        elif not self._hidden:
            self.parts.append(data)
            if not self._names:
                self.outside.append(data)

    def _space(self, tag: str) -> None:
        if tag in ("td", "th", "small", "dt", "dd"):
            self.parts.append(" | " if tag != "small" else " ")
        elif tag not in INLINE:
            self.parts.append("\n")


def read(html: str) -> _Reader:
    """Return what is in a page: `parts` of text, `elements` and `scripts` by id."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader


def visible_text(html: str) -> str:
    """Return the page's text, one line a block, cells told apart by bars."""
    text = "".join(read(html).parts)
    lines = (re.sub(r"(\s*\|\s*)+", " | ", re.sub(r"[ \t\r]+", " ", line)).strip(" |") for line in text.split("\n"))
    return "\n".join(line for line in lines if line) + "\n"


def without_volatile(html: str) -> str:
    """Return the page with the one block that may differ between builds left empty."""
    start = html.index("<section", html.index("data-volatile") - 60)
    end = html.index("</section>", start)
    assert html.count("data-volatile aria") == 1, "one marked block"
    return html[:start] + html[end:]
