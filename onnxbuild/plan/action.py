"""An action: one planned step with typed parameters and inputs; and the plan, a graph of them in order."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from onnxbuild.recipe.types import Choice, Target


class Ref(msgspec.Struct, frozen=True, order=True):
    """An artifact that another action delivers."""

    action: str
    output: str


@dataclass(frozen=True)
class Action:
    """One planned step. `files` maps a label to a path relative to the project.

    `after` are actions that must be done first although nothing of theirs is read; `env`, `reads` and `strict_reads`
    are what the recipe declares for user code. `locked` is what a search is to try first, as the lock has it.
    """

    name: str
    stage: str
    params: msgspec.Struct
    inputs: dict[str, Ref]
    files: dict[str, str]
    folder: str
    env: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    strict_reads: bool = False
    after: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    locked: Choice | None = None

    @property
    def upstream(self) -> tuple[str, ...]:
        """The names of all actions that must be done before this one."""
        return tuple(dict.fromkeys([*(ref.action for ref in self.inputs.values()), *self.after]))


NOT_KEYED = {
    "name": "a renamed recipe or variant is the same work",
    "folder": "a moved project is the same work",
    "strict_reads": "a limit: a trace that read outside the project does not hold under it",
    "after": "order, not content",
    "targets": "who asked is not what is made",
    "locked": "it stands in for a search under the same key: what it names must meet the same tolerance",
}
"""Fields of Action that are in no key, with the reason; every other field is in it."""


class StageModel(msgspec.Struct, frozen=True):
    """A model along a target's way: the label people read ("export", "optimize.1", "quantize") and who makes it."""

    label: str
    ref: Ref


@dataclass(frozen=True)
class TargetPlan:
    """A target and the actions that build and prove it, by what they mean to it.

    `models` are in order, the last one is delivered; `blame` explains a missed tolerance and is in no other's way;
    `validations` maps a provider to the validate action of each of `models`, in the same order, `placements` and
    `benchmarks` to the place action and the benchmark of the delivered one, `compiled` those that compile it ahead to
    the action that has them do it. `tune` chooses the session, `versus` is the benchmark against the variant that a
    ratio names. `support` marks a target that is built only because another's ratio refers to it.
    """

    target: Target
    models: tuple[StageModel, ...]
    validations: dict[str, tuple[str, ...]]
    evaluation: str
    reference: str
    package: str
    calibration: str | None = None
    blame: str | None = None
    support: bool = False
    placements: dict[str, str] = field(default_factory=dict)
    benchmarks: dict[str, str] = field(default_factory=dict)
    compiled: dict[str, str] = field(default_factory=dict)
    versus: str | None = None
    tune: str | None = None

    @property
    def proofs(self) -> tuple[str, ...]:
        """The names of all actions that measure the target by itself, which must succeed."""
        validations = (name for names in self.validations.values() for name in names)
        return (*validations, *self.placements.values(), *self.benchmarks.values())

    @property
    def measurements(self) -> tuple[str, ...]:
        """The names of all actions that measure the target, by itself or against another one."""
        return (*self.proofs, *([self.versus] if self.versus is not None else []))


class RecipeGroup(msgspec.Struct, frozen=True):
    """Recipes that share actions, or one that shares none: nothing outside a group changes what is done within it.

    `roots` are digests of the contents of the group's actions without inputs: whoever shares an action shares one of
    those.
    """

    recipes: tuple[str, ...]
    roots: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Actions in an order in which each comes after what it needs, the targets they are for, and how recipes group.

    `explaining` are actions that are done only when a gate failed, or when they are asked for.
    """

    actions: dict[str, Action] = field(default_factory=dict)
    targets: tuple[TargetPlan, ...] = ()
    groups: tuple[RecipeGroup, ...] = ()
    explaining: dict[str, Action] = field(default_factory=dict)

    @property
    def group_of(self) -> dict[str, int]:
        """The number of each recipe's group."""
        return {recipe: number for number, group in enumerate(self.groups) for recipe in group.recipes}
