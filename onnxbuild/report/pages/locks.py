"""In what locks differ, as a page: a sentence, and a table for each recipe."""

from __future__ import annotations

from dataclasses import dataclass

from onnxbuild.recipe.changes import LockChanges, RecipeChanges
from onnxbuild.report import numbers
from onnxbuild.report.change_text import told_of
from onnxbuild.report.pages.changes import change_table
from onnxbuild.report.pages.table import Cell, Column, Row, Table

MOST_RECIPES = 60
"""Recipes on a page."""


@dataclass(frozen=True)
class RecipePart:
    """One recipe: how each target stands, the table of what differs (None: nothing), the lines of the recipe."""

    id: str
    lock: str
    targets: Table
    table: Table | None
    lines: str


@dataclass(frozen=True)
class LocksPage:
    """Everything that the template of compared locks prints."""

    old: str
    new: str
    lead: str
    version: str
    recipes: tuple[RecipePart, ...]
    shown: str


def locks_page(facts: LockChanges, version: str) -> LocksPage:
    """Return the page on two sets of locks."""
    shown = facts.recipes[:MOST_RECIPES]
    left_out = len(facts.recipes) - len(shown)
    return LocksPage(
        old=facts.old,
        new=facts.new,
        lead=lead(facts),
        version=version,
        recipes=tuple(_part(number, recipe) for number, recipe in enumerate(shown)),
        shown=f"showing {len(shown)} of {len(facts.recipes)} recipes" if left_out else "",
    )


def lead(facts: LockChanges) -> str:
    """Return in one sentence how much differs."""
    if facts.is_same:
        return "The locks do not differ."
    kinds = [target.kind for recipe in facts.recipes for target in recipe.targets]
    said = [
        f"{numbers.plural(n, 'target')} {word}"
        for kind, word in (("changed", "changed"), ("added", "accepted for the first time"), ("removed", "removed"))
        if (n := kinds.count(kind))
    ]
    lines = sum(bool(recipe.lines) for recipe in facts.recipes)
    said += [f"{numbers.plural(lines, 'recipe')} with other lines"] if lines else []
    return "; ".join(said) + "."


def _part(number: int, recipe: RecipeChanges) -> RecipePart:
    rows = tuple(
        Row((Cell(name=target.variant), Cell(name=told_of(target), fold=400)))
        for target in recipe.targets
        if target.kind != "same"
    )
    changed = [(target.variant, "", target) for target in recipe.targets if target.kind == "changed"]
    columns = (Column("Variant"), Column("What changed", "remark"))
    return RecipePart(
        id=f"recipe-{number}",
        lock=recipe.lock,
        targets=Table("Targets", columns, rows, empty="No target's entry differs.", hide_caption=True),
        table=change_table(changed, True, ("Old", "New")),
        lines="\n".join(recipe.lines),
    )
