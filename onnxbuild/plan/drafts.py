"""Actions as they are drafted: equal ones merged, all named in the end; knows nothing of what a recipe asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from onnxbuild.base.codec import encode
from onnxbuild.base.digest import digest_bytes
from onnxbuild.plan.action import Action, Plan, RecipeGroup, Ref, StageModel, TargetPlan
from onnxbuild.recipe.types import Target


@dataclass
class Drafts:
    """Actions under provisional names, equal ones merged."""

    actions: dict[str, Action] = field(default_factory=dict)
    by_content: dict[object, str] = field(default_factory=dict)
    wishes: dict[str, list[tuple[Target, str]]] = field(default_factory=dict)

    def add(self, target: Target, label: str, action: Action) -> str:
        """Add `action` for `target` and return its provisional name; `label` is how it is called within the target."""
        content = (
            action.stage,
            encode(action.params),
            tuple(sorted(action.inputs.items())),
            tuple(sorted(action.files.items())),
            action.env,
            action.reads,
            action.folder if action.files else "",
            action.after,
        )
        name = self.by_content.setdefault(content, str(len(self.actions)))
        known = self.actions.setdefault(name, replace(action, name=name))
        self.actions[name] = replace(
            known,
            targets=tuple(dict.fromkeys((*known.targets, target.name))),
            strict_reads=known.strict_reads or action.strict_reads,
            locked=known.locked or action.locked,
        )
        self.wishes.setdefault(name, []).append((target, label))
        return name


def name_actions(drafts: Drafts, plans: Sequence[TargetPlan]) -> Plan:
    """Return the plan of all drafts, each under the name that people read, with the recipes that share some."""
    names = _final_names(drafts)

    def ref(old: Ref) -> Ref:
        return Ref(names[old.action], old.output)

    actions: dict[str, Action] = {}
    explaining: dict[str, Action] = {}
    for draft in drafts.actions.values():
        (explaining if draft.stage == "blame" else actions)[names[draft.name]] = replace(
            draft,
            name=names[draft.name],
            inputs={label: ref(old) for label, old in draft.inputs.items()},
            after=tuple(names[old] for old in draft.after),
        )
    targets = tuple(
        replace(
            plan,
            models=tuple(StageModel(m.label, ref(m.ref)) for m in plan.models),
            validations={p: tuple(names[n] for n in old) for p, old in plan.validations.items()},
            benchmarks={p: names[old] for p, old in plan.benchmarks.items()},
            compiled={p: names[old] for p, old in plan.compiled.items()},
            tune=names[plan.tune] if plan.tune is not None else None,
            versus=names[plan.versus] if plan.versus is not None else None,
            placements={p: names[old] for p, old in plan.placements.items()},
            evaluation=names[plan.evaluation],
            reference=names[plan.reference],
            package=names[plan.package],
            calibration=names[plan.calibration] if plan.calibration is not None else None,
            blame=names[plan.blame] if plan.blame is not None else None,
        )
        for plan in plans
    )
    return Plan(actions, targets, _groups(drafts), explaining)


def _groups(drafts: Drafts) -> tuple[RecipeGroup, ...]:
    """Group the recipes that share actions: whoever shares one shares one without inputs that it comes from."""
    group: dict[str, dict[str, None]] = {}
    roots: dict[str, str] = {}
    for name, draft in drafts.actions.items():
        if draft.inputs:
            continue
        recipes = dict.fromkeys(target.recipe for target, _ in drafts.wishes[name])
        roots[_digest(draft)] = next(iter(recipes))
        joined = {r: None for recipe in recipes for r in group.get(recipe, {recipe: None})}
        for recipe in joined:
            group[recipe] = joined
    names: dict[int, list[str]] = {}
    for digest, recipe in roots.items():
        names.setdefault(id(group[recipe]), []).append(digest)
    groups = {id(recipes): tuple(recipes) for recipes in group.values()}
    return tuple(RecipeGroup(recipes, tuple(names[number])) for number, recipes in groups.items())


def _digest(root: Action) -> str:
    """Return the digest of all by which an action without inputs is equal to another; see `Drafts.add`."""
    folder = root.folder if root.files else ""
    return digest_bytes(encode([root.stage, root.params, sorted(root.files.items()), root.env, root.reads, folder]))


def _final_names(drafts: Drafts) -> dict[str, str]:
    """Name an action for its recipe, or for its first variant where the recipe's other variants do it differently."""
    different: dict[tuple[str, str], set[str]] = {}
    for name, wishes in drafts.wishes.items():
        for target, label in wishes:
            different.setdefault((target.recipe, label), set()).add(name)
    names: dict[str, str] = {}
    used: set[str] = set()
    for name, wishes in drafts.wishes.items():
        target, label = wishes[0]
        shared = len(different[target.recipe, label]) == 1
        names[name] = _free(f"{target.recipe}/{label}" if shared else f"{target.name}/{label}", used)
        used.add(names[name])
    return names


def _free(name: str, used: set[str]) -> str:
    free, number = name, 1
    while free in used:
        number += 1
        free = f"{name}.{number}"
    return free
