"""Patterns that name nodes, module paths and tensors (`fc2`, `*/attn/*`); knows no graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from onnxbuild.base.diagnostics import StageFailure, did_you_mean


def is_match(pattern: str, name: str) -> bool:
    """Say whether `pattern` means `name`: the name itself, a shell pattern for it, or a scope that holds it.

    `fc2` means `fc2` and everything beneath it (`fc2/MatMul`), with "/" or "." between the parts.
    """
    if name == pattern or name.startswith((pattern + "/", pattern + ".")):
        return True
    return any(fnmatchcase(name, p) for p in (pattern, pattern + "/*", pattern + ".*"))


def require_matches(patterns: Sequence[str], names: Iterable[str], what: str) -> None:
    """Raise StageFailure (`pattern-matches-nothing`) for the first pattern that means none of `names`.

    `what` says in words what the names are, such as "nodes".
    """
    known = sorted(set(names))
    scopes = sorted({name[:at] for name in known for at in range(len(name)) if name[at] == "/"})
    for pattern in patterns:
        if not any(is_match(pattern, name) for name in known):
            hint = did_you_mean(pattern, [*known, *scopes])
            if hint is None and known:
                hint = f"there are for example {', '.join(repr(name) for name in known[:5])}"
            raise StageFailure(
                "pattern-matches-nothing", f"the pattern '{pattern}' matches none of the {what}", hint=hint
            )


def is_any_match(patterns: Sequence[str], names: Iterable[str]) -> bool:
    """Say whether any of `patterns` means any of `names`."""
    return any(is_match(pattern, name) for name in names for pattern in patterns)
