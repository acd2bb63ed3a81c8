"""Limits as recipes write them ("99% of source", "30% of fp32", "2 MB", 0.97) to values; knows no recipe.

The texts were checked against the schema's patterns, so nothing here can fail on them.
"""

from __future__ import annotations

import re

from onnxbuild.base.units import parse_duration, parse_ratio, parse_share, parse_size
from onnxbuild.recipe.types import Bound

_WORDS = {"at_least": "at least", "at_most": "at most", "max_drop": "a drop of at most"}


def metric_bound(kind: str, limit: float | str) -> Bound:
    """Return the bound of a metric: a value in metric units, or a share of the source's own."""
    text = f"{_WORDS[kind]} {_tidy(limit)}"
    if not isinstance(limit, str):
        return Bound(kind=kind, value=float(limit), text=text)
    share, of = _split(limit)
    return Bound(kind=kind, value=parse_share(share), of=of, text=text)


def size_bound(limit: str) -> Bound:
    """Return an upper bound of size: bytes, or a ratio to another variant."""
    text = f"{_WORDS['at_most']} {_tidy(limit)}"
    value, of = _split(limit)
    if of is None:
        return Bound(kind="at_most", value=parse_size(value), text=text)
    ratio = parse_share(value) if value.endswith("%") else parse_ratio(value)
    return Bound(kind="at_most", value=ratio, of=of, text=text)


def speed_bound(limit: str) -> Bound:
    """Return a lower bound of the speed, a ratio to another variant."""
    value, of = _split(limit)
    return Bound(kind="at_least", value=parse_ratio(value), of=of, text=f"{_WORDS['at_least']} {_tidy(limit)}")


def latency_bound(percentile: str, limit: str) -> Bound:
    """Return an upper bound of a percentile of the latency, in milliseconds."""
    text = f"{percentile} {_WORDS['at_most']} {_tidy(limit)}"
    return Bound(kind="at_most", value=round(parse_duration(limit) * 1e3, 9), text=text)


def memory_bound(limit: str) -> Bound:
    """Return an upper bound of the peak memory, in bytes."""
    return Bound(kind="at_most", value=parse_size(limit), text=f"{_WORDS['at_most']} {_tidy(limit)}")


def node_bound(limit: int | str) -> Bound:
    """Return how many nodes a provider must get: a count, or a share of all."""
    if isinstance(limit, str):
        return Bound(kind="at_least", value=parse_share(limit), of="nodes", text=f"at least {_tidy(limit)} of nodes")
    return Bound(kind="at_least", value=limit, text=f"at least {limit} node{'' if limit == 1 else 's'}")


def share_of(value: float | str | None) -> float | None:
    """Return a share that is written as 0.99 or as "99%"."""
    return parse_share(value) if isinstance(value, str) else value


def _split(limit: str) -> tuple[str, str | None]:
    value, separator, of = re.sub(r"\s+", " ", limit).partition(" of ")
    return value.strip(), of.strip() if separator else None


def _tidy(limit: float | str) -> str:
    return re.sub(r"\s+", " ", limit).strip() if isinstance(limit, str) else f"{limit:.12g}"
