"""Plain scalars of YAML as version 1.2's core schema reads them; knows nothing of documents.

Source: YAML 1.2.2, section 10.3.2 (tag resolution). Numbers that JSON or a 64-bit integer cannot hold are refused.
"""

from __future__ import annotations

import math
import re

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_STARTS_NUMBER = frozenset("-+.0123456789")
_MOST_DIGITS = 40  # longer is no number of 64 bits but, say, a SHA-256 that happens to be all digits


def resolve(text: str) -> bool | int | float | str | None:
    """Return the value of a plain scalar; raises ValueError for a number that is not finite or needs over 64 bits."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _STARTS_NUMBER:
        return text
    if len(text) > _MOST_DIGITS:
        return text
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"'{text}' is not a finite number")
    if _INT.fullmatch(text):
        return _bounded(text, 10)
    if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        return _bounded(text, 0)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"'{text}' is too large for a number")
        return value
    return text


def _bounded(text: str, base: int) -> int:
    value = int(text, base)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"'{text}' needs more than 64 bits; quote it if it is a text")
    return value
