"""Accepting targets: their results merged into the locks beside their recipes, whole files at a time; runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from onnxbuild.base.atomic import write_atomically
from onnxbuild.base.diagnostics import Diagnostic, UserError
from onnxbuild.engine.events import Status
from onnxbuild.engine.run import Outcome
from onnxbuild.plan.action import Plan, TargetPlan
from onnxbuild.proof.gates import Verdict
from onnxbuild.recipe.lock import Lock, LockedTarget, encode_lock, lock_path, read_lock
from onnxbuild.recipe.problems import Problems
from onnxbuild.recipe.types import Recipe
from onnxbuild.targets.judge import Judge, Judgement
from onnxbuild.targets.locking import describe_target, differences


def accept(
    root: Path,
    recipes: Iterable[Recipe],
    plan: Plan,
    outcomes: Mapping[str, Outcome],
    judge: Judge,
    waive: tuple[str, ...],
    reason: str,
) -> tuple[str, ...]:
    """Merge the plan's targets into the locks of `recipes` and return the locks' paths, relative to `root`.

    Raises UserError, before anything is written, for a target that is not built from what is there now, or that
    failed a gate which `waive` does not name.
    """
    problems: list[Diagnostic] = []
    accepted: dict[str, Lock] = {}
    waived: set[str] = set()
    for target in plan.targets:
        if target.support:
            continue
        judgement = judge.judgement(target.target.name)
        found = _refusals(plan, target, judgement, outcomes, waive)
        problems += found
        if judgement is not None and not found:
            failed = [gate.gate for gate in judgement.gates if gate.verdict is Verdict.FAILED]
            waived.update(failed)
            entry = describe_target(plan, target, judgement, outcomes, dict.fromkeys(failed, reason))
            accepted.setdefault(target.target.file, {})[target.target.variant] = entry
    if unused := [gate for gate in waive if gate not in waived]:
        message = f"no selected target failed {', '.join(unused)}"
        problems.append(Diagnostic(code="nothing-to-waive", message=message, hint="leave it out of --waive"))
    if problems:
        raise UserError(problems)
    return tuple(_merge(root, recipe, accepted[recipe.file]) for recipe in recipes if recipe.file in accepted)


def compare(root: Path, plan: Plan, outcomes: Mapping[str, Outcome], judge: Judge) -> dict[str, tuple[str, ...]]:
    """Return for each target that was made how it differs from its entry in the lock; no entry is a difference."""
    locks: dict[str, Lock] = {}
    found: dict[str, tuple[str, ...]] = {}
    for target in plan.targets:
        judgement = judge.judgement(target.target.name)
        if target.support or judgement is None or judgement.failed_action is not None:
            continue
        file = target.target.file
        if file not in locks:
            locks[file] = read_lock(root, lock_path(file), Problems())
        accepted: LockedTarget | None = locks[file].get(target.target.variant)
        if accepted is None:
            found[target.target.name] = (f"{lock_path(file)} has no entry for it",)
        else:
            found[target.target.name] = differences(accepted, describe_target(plan, target, judgement, outcomes, {}))
    return found


def _refusals(
    plan: Plan,
    target: TargetPlan,
    judgement: Judgement | None,
    outcomes: Mapping[str, Outcome],
    waive: tuple[str, ...],
) -> list[Diagnostic]:
    name = target.target.name
    needed = [*(model.ref.action for model in target.models), *target.proofs]
    done = all(n in outcomes and outcomes[n].status is Status.OK and outcomes[n].trace is not None for n in needed)
    if judgement is None or not done:
        message = f"{name} is not built from what is there now"
        return [Diagnostic(code="not-built", message=message, hint=f"run: onnxbuild make {name}")]
    failed = [gate.gate for gate in judgement.gates if gate.verdict is Verdict.FAILED and gate.gate not in waive]
    if failed:
        hint = f"onnxbuild accept {name} --waive {failed[0]} --reason TEXT"
        message = f"{name} failed {', '.join(dict.fromkeys(failed))}"
        return [Diagnostic(code="failed-gate", message=message, hint=hint)]
    return []


def _merge(root: Path, recipe: Recipe, accepted: Lock) -> str:
    """Write the recipe's lock: what was accepted now, and of its other variants what was accepted before."""
    file, variants = lock_path(recipe.file), [target.variant for target in recipe.targets]
    before = read_lock(root, file, Problems(), variants)
    write_atomically(root / file, encode_lock({**before, **accepted}).encode())
    return file
