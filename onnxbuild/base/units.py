"""Sizes, durations, shares and ratios as people write them ("1.5 GB", "5 ms", "99%", "1.1x"); knows no recipe."""

from __future__ import annotations

import re

_SIZE = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_TIME = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_NUMBER = r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*"


def parse_size(text: str) -> int:
    """Return the bytes in a text such as "200 MB" (powers of ten); raises ValueError."""
    match = re.fullmatch(_NUMBER + r"(B|[kK]B|MB|GB|TB)", text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a size; write for example '200 MB' or '1.5 GB'")
    return round(float(match[1]) * _SIZE[match[2].upper()])


def parse_duration(text: str) -> float:
    """Return the seconds in a text such as "5 ms" or "30 min"; raises ValueError."""
    match = re.fullmatch(_NUMBER + r"(us|ms|s|min|h)", text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a duration; write for example '5 ms', '40 s' or '30 min'")
    return float(match[1]) * _TIME[match[2]]


def parse_share(text: str) -> float:
    """Return the share, 0 to 1 or above, in a text such as "99%"; raises ValueError."""
    match = re.fullmatch(_NUMBER + "%", text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a share; write for example '99%'")
    return float(match[1]) / 100


def parse_ratio(text: str) -> float:
    """Return the ratio in a text such as "1.1x"; raises ValueError."""
    match = re.fullmatch(_NUMBER + "x", text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a ratio; write for example '1.1x'")
    return float(match[1])


def format_size(size: float) -> str:
    """Return `size` bytes in powers of ten with three digits, such as "4.2 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 999.5 or unit == "GB":
            return f"{size:.0f} B" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError


def format_duration(seconds: float) -> str:
    """Return a duration for people, such as "5.1 ms", "2.3 s" or "4 min 10 s"."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
