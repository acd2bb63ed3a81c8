"""What compared locks differ in, as lines for a terminal; compares nothing."""

from __future__ import annotations

from collections.abc import Iterator

from onnxbuild.recipe.changes import LockChanges, TargetChanges
from onnxbuild.report.change_text import change_lines, told_of

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def lock_lines(found: LockChanges) -> Iterator[str]:
    """Yield all that differs: recipes, their targets, and below each its parts."""
    if found.is_same:
        yield "The locks do not differ."
        return
    for recipe in found.recipes:
        yield recipe.lock
        for line in recipe.lines:
            yield f"    {line}"
        for target in recipe.targets:
            if target.kind != "same":
                yield f"{_SIGNS[target.kind]} {target.variant}: {told_of(target)}"
                yield from _lines(target)


def _lines(target: TargetChanges) -> Iterator[str]:
    part = ""
    for line in change_lines(target) if target.kind == "changed" else ():
        if line.part != part:
            part = line.part
            yield f"  {part}"
        change = "".join(f"  {text}" for text in (line.change, line.noise) if text)
        yield f"    {line.what}: {line.old} → {line.new}{change}"
