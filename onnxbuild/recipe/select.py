"""Which targets a call means: `<recipe>`, `<recipe>:<variant>` and globs of both; knows names only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from onnxbuild.base.diagnostics import Diagnostic, did_you_mean


def matches(pattern: str, recipe: str, variant: str | None) -> bool:
    """Whether `pattern` means the target; a `variant` of None stands for the variants of a recipe nobody could read."""
    wanted_recipe, colon, wanted_variant = pattern.partition(":")
    if not fnmatchcase(recipe, wanted_recipe):
        return False
    return not colon or variant is None or fnmatchcase(variant, wanted_variant)


def select_targets(
    patterns: Sequence[str], variants: Mapping[str, Sequence[str] | None]
) -> tuple[dict[str, list[str]], list[Diagnostic]]:
    """Return the variants selected in each recipe, and an error for each pattern that means nothing.

    `variants` maps each recipe to its variants, None where it is broken; no pattern at all selects everything.
    A broken recipe that is selected has an empty list.
    """
    chosen: dict[str, list[str]] = {}
    errors = []
    for recipe, names in variants.items():
        for variant in names if names is not None else (None,):
            if not patterns or any(matches(p, recipe, variant) for p in patterns):
                chosen.setdefault(recipe, []).extend([variant] if variant is not None else [])
    for pattern in dict.fromkeys(patterns):
        hit = any(
            matches(pattern, recipe, variant)
            for recipe, names in variants.items()
            for variant in (names if names is not None else (None,))
        )
        if not hit:
            errors.append(_no_such_target(pattern, variants))
    return chosen, errors


def _no_such_target(pattern: str, variants: Mapping[str, Sequence[str] | None]) -> Diagnostic:
    recipe, colon, _ = pattern.partition(":")
    message = f"no target '{pattern}'"
    if colon and recipe in variants:
        names = [f"{recipe}:{variant}" for variant in variants[recipe] or ()]
    else:
        names = [*variants, *(f"{r}:{v}" for r, vs in variants.items() for v in vs or ())]
    hint = did_you_mean(pattern, names)
    if hint is None:
        shown = names if colon and recipe in variants else list(variants)
        listed = ", ".join(shown[:8]) + (", …" if len(shown) > 8 else "")
        hint = f"there are: {listed}" if shown else None
    return Diagnostic(code="no-such-target", message=message, hint=hint)
