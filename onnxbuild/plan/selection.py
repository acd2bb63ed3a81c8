"""What of a plan the selected targets need, and the targets that their ratio gates name; adds no action."""

from __future__ import annotations

from dataclasses import replace

from onnxbuild.plan.action import Plan, TargetPlan
from onnxbuild.recipe.types import Target


def select(plan: Plan, selected: set[str]) -> Plan:
    """Return the part of a plan that the selected targets need; a target that only a ratio refers to is support."""
    support = _referred(plan, selected) - selected
    targets = [p for p in plan.targets if p.target.name in selected]
    targets += [replace(p, support=True) for p in plan.targets if p.target.name in support]
    wanted: set[str] = set()
    stack = [name for p in targets for name in _needs(p)]
    while stack:
        name = stack.pop()
        if name not in wanted:
            wanted.add(name)
            stack.extend(plan.actions[name].upstream)
    return Plan(
        {name: action for name, action in plan.actions.items() if name in wanted},
        tuple(targets),
        plan.groups,
        {name: action for name, action in plan.explaining.items() if wanted.issuperset(action.upstream)},
    )


def _referred(plan: Plan, selected: set[str]) -> set[str]:
    """Return the targets that ratio gates of the selected ones, or of those they refer to, name."""
    named = {p.target.name: [f"{p.target.recipe}:{of}" for of in _references(p.target)] for p in plan.targets}
    found: set[str] = set()
    stack = [*selected]
    while stack:
        new = [name for name in named.get(stack.pop(), ()) if name not in found]
        found.update(new)
        stack += new
    return found


def _references(target: Target) -> list[str]:
    bounds = [target.size, target.speed.bound if target.speed is not None else None]
    return [bound.of for bound in bounds if bound is not None and bound.of is not None]


def _needs(plan: TargetPlan) -> tuple[str, ...]:
    return plan.measurements if plan.support else (plan.package, *plan.measurements)
