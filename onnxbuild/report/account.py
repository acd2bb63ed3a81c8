"""What one make came to, for those who did not watch it: facts, decisions, places in recipes; words nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onnxbuild.base.diagnostics import Diagnostic, Place
from onnxbuild.engine.events import ActionDone, LockCompared
from onnxbuild.report.facts import ActionFacts, ReportFacts, TargetFacts


@dataclass(frozen=True)
class Account:
    """The recipes of the selected targets, each with the facts of all its targets that were looked at.

    `selected` are the names of the targets that were asked for; `done` is what was told of each action, `places` where
    each target's values were written, by dotted path, `locks` how targets compare with what was accepted of them.
    `root` and `reports` are folders, absolute.
    """

    root: Path
    reports: Path
    recipes: tuple[ReportFacts, ...] = ()
    selected: frozenset[str] = frozenset()
    done: Mapping[str, ActionDone] = field(default_factory=dict)
    places: Mapping[str, Mapping[str, Place]] = field(default_factory=dict)
    locks: Sequence[LockCompared] = ()
    problems: Sequence[Diagnostic] = ()

    @property
    def targets(self) -> list[tuple[ReportFacts, TargetFacts]]:
        """The selected targets with their recipes, in the recipes' order."""
        return [(recipe, t) for recipe in self.recipes for t in recipe.targets if t.name in self.selected]

    @property
    def actions(self) -> list[ActionFacts]:
        """The actions of the selected targets, each once."""
        every = (action for recipe in self.recipes for action in recipe.actions)
        return list({a.name: a for a in every if self.selected.intersection(a.targets)}.values())
