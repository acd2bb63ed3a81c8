"""Accepting targets: their results merged into the locks beside their recipes, whole files at a time; runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from onnxbuild.base.atomic import write_atomically
from onnxbuild.base.diagnostics import Diagnostic, UserError
from onnxbuild.base.digest import digest_file
from onnxbuild.engine.run import Outcome
from onnxbuild.plan.action import Plan, TargetPlan
from onnxbuild.proof.gates import Verdict
from onnxbuild.recipe.lock import Lock, LockedTarget, encode_lock, lock_path, read_lock
from onnxbuild.recipe.problems import Problems
from onnxbuild.recipe.types import Recipe
from onnxbuild.store.blobs import BlobStore
from onnxbuild.targets.judge import Judge, Judgement
from onnxbuild.targets.locking import beside_other_machines, describe_target, differences, is_measured, unknown_machines
from onnxbuild.targets.weights import RELATIVE, NotComparedError, compare_weights


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
            text = digest_file(root / target.target.file)
            entry = describe_target(plan, target, judgement, outcomes, dict.fromkeys(failed, reason), text)
            accepted.setdefault(target.target.file, {})[target.target.variant] = entry
    if unused := [gate for gate in waive if gate not in waived]:
        message = f"no selected target failed {', '.join(unused)}"
        problems.append(Diagnostic(code="nothing-to-waive", message=message, hint="leave it out of --waive"))
    if problems:
        raise UserError(problems)
    return tuple(_merge(root, recipe, accepted[recipe.file]) for recipe in recipes if recipe.file in accepted)


@dataclass(frozen=True)
class Compared:
    """How a target differs from what was accepted, in words; what was compared in another way; what could not be."""

    differences: tuple[str, ...]
    notes: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()


def compare(
    root: Path, plan: Plan, outcomes: Mapping[str, Outcome], judge: Judge, blobs: BlobStore
) -> dict[str, Compared]:
    """Return for each target that was made how it differs from its entry in the lock; no entry is a difference."""
    locks: dict[str, Lock] = {}
    found: dict[str, Compared] = {}
    for target in plan.targets:
        judgement = judge.judgement(target.target.name)
        if target.support or judgement is None or judgement.failed_action is not None:
            continue
        file = target.target.file
        if file not in locks:
            locks[file] = read_lock(root, lock_path(file), Problems())
        accepted: LockedTarget | None = locks[file].get(target.target.variant)
        if accepted is None:
            found[target.target.name] = Compared((f"{lock_path(file)} has no entry for it",))
        else:
            now = describe_target(plan, target, judgement, outcomes, {})
            found[target.target.name] = _compare(accepted, now, blobs)
    return found


def _compare(accepted: LockedTarget, now: LockedTarget, blobs: BlobStore) -> Compared:
    found = _compare_models(accepted, now, blobs)
    notes = tuple(
        f"no session was accepted for {machine}: it was measured" for machine in unknown_machines(accepted, now)
    )
    return replace(found, notes=(*found.notes, *notes))


def _compare_models(accepted: LockedTarget, now: LockedTarget, blobs: BlobStore) -> Compared:
    told = differences(accepted, now)
    if accepted.maker == now.maker or accepted.output == now.output:
        return Compared(told)
    where = f"accepted on {accepted.maker}, made on {now.maker}"
    if told:
        return Compared(told, (f"the model's bytes were not compared: {where}",))
    try:
        differing, apart = compare_weights(blobs, accepted.output, now.output)
    except NotComparedError as error:
        return Compared((), (), (f"the weights could not be compared ({error}): {where}",))
    near = f"{differing:,} of its tensors differ, each within {RELATIVE:g} of its norm (integers: one step)"
    return Compared(tuple(apart), () if apart else (f"not the same bytes, but near enough: {near}; {where}",))


def _refusals(
    plan: Plan,
    target: TargetPlan,
    judgement: Judgement | None,
    outcomes: Mapping[str, Outcome],
    waive: tuple[str, ...],
) -> list[Diagnostic]:
    name = target.target.name
    if judgement is None or not is_measured(target, outcomes):
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
    file, targets = lock_path(recipe.file), {target.variant: target for target in recipe.targets}
    before = read_lock(root, file, Problems(), targets)
    entries = {v: beside_other_machines(entry, targets[v], before.get(v)) for v, entry in accepted.items()}
    write_atomically(root / file, encode_lock({**before, **entries}).encode())
    return file
