"""Numbers as a reader of a report wants them: few digits, a true minus sign, the unit's word; knows no page."""

from __future__ import annotations

import math

from onnxbuild.base.units import format_duration, format_size

MINUS = "−"
NONE = "–"
SHARE_METRICS = frozenset({"accuracy", "top_k", "f1", "precision", "recall", "roc_auc"})
"""Metrics between 0 and 1, shown in percent and their differences in points."""


def number(value: float | str | None, digits: int = 3) -> str:
    """Return a measure with `digits` significant digits, such as "0.0123", "1.2e-7" or "NaN"."""
    if value is None:
        return NONE
    if isinstance(value, str):
        return {"nan": "NaN", "inf": "∞", "-inf": MINUS + "∞"}.get(value, value)
    if not math.isfinite(value):
        return number(str(value), digits)
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 10**digits - 0.5:
        text = f"{value:.{digits}g}"
    elif 1 <= abs(value) < 1e6:
        text = f"{value:,.0f}"
    else:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", MINUS, 1) if text.startswith("-") else text


def cosine(value: float | str | None) -> str:
    """Return a cosine with as many nines as it takes to tell it from one."""
    if not isinstance(value, float | int):
        return number(value)
    if value >= 1 - 1e-9:
        return "1"
    places = max(4, min(9, 1 - math.floor(math.log10(1 - value)))) if value > 0 else 4
    return f"{value:.{places}f}".replace("-", MINUS)


def count(value: int | None) -> str:
    """Return an integer with thousands separated, such as "12,408"."""
    return NONE if value is None else f"{value:,}".replace("-", MINUS)


def percent(share: float | None, places: int = 1) -> str:
    """Return a share in percent, such as "97.2%"; tiny shares are not rounded to nothing ("<0.1%")."""
    if share is None:
        return NONE
    if not math.isfinite(share):
        return number(share)
    if share == 0:
        return "0%"
    least = 10.0**-places
    if 0 < abs(share) * 100 < least:
        return f"<{least:.{places}f}%"
    text = f"{share * 100:,.{places}f}%"
    return text.replace("-", MINUS, 1)


def signed(text: str, value: float) -> str:
    """Return `text`, a formatted absolute value, with the sign of `value`; nothing for zero."""
    if value == 0:
        return text
    return ("+" if value > 0 else MINUS) + text


def metric_value(name: str, value: float | None) -> str:
    """Return a metric's value: shares in percent with two decimals, others as numbers."""
    if value is None:
        return "NaN"
    return percent(value, 2) if name in SHARE_METRICS else number(value, 4)


def metric_change(name: str, change: float) -> str:
    """Return a difference of two values of a metric: points for shares, its own unit for others."""
    if name in SHARE_METRICS:
        points = round(change * 100, 2)
        if points == 0 and change != 0:
            return signed("0.00", change)
        return signed(f"{abs(points):.2f}", points)
    return signed(number(abs(change), 3), change)


def metric_unit(name: str) -> str:
    """Return the word after a metric's difference: " points" for shares, else nothing."""
    return " points" if name in SHARE_METRICS else ""


def size(value: int | None) -> str:
    """Return bytes in powers of ten, such as "4.2 MB"."""
    return NONE if value is None else format_size(value)


def exact_size(value: int | None) -> str | None:
    """Return the exact bytes for a tooltip."""
    return None if value is None else f"{value:,} bytes"


def seconds(value: float | None) -> str:
    """Return a duration for people."""
    return NONE if value is None else format_duration(value)


def milliseconds(value: float) -> str:
    """Return milliseconds in the unit that reads best, such as "18.7 µs", "5.1 ms" or "2.3 s"."""
    if abs(value) < 1:
        return f"{number(value * 1e3)} µs"
    return f"{number(value)} ms" if abs(value) < 1000 else f"{number(value / 1e3)} s"


def ratio(value: float) -> str:
    """Return a ratio such as "3.6x"."""
    return f"{value:.1f}x" if value < 100 else f"{value:,.0f}x"


def size_change(before: int | None, after: int | None) -> str:
    """Return the change of a size in percent, such as "−72%", or nothing where it cannot be told or is none."""
    if not before or after is None or before == after:
        return ""
    change = after / before - 1
    if abs(change) < 0.001:
        return signed("<0.1%", change)
    return signed(f"{abs(change) * 100:,.{0 if abs(change) >= 0.1 else 1}f}%", change)


def plural(n: int, word: str, many: str | None = None) -> str:
    """Return "1 gate" or "3 gates"."""
    return f"{count(n)} {word if n == 1 else many or word + 's'}"
