"""Failed gates, failed stages and warnings as diagnostics on the recipe's lines that ask for them; prints nothing."""

from __future__ import annotations

from collections.abc import Iterator

from onnxbuild.base.diagnostics import Diagnostic, Place, Severity
from onnxbuild.proof.gates import Verdict
from onnxbuild.report import summary
from onnxbuild.report.account import Account
from onnxbuild.report.action_place import action_place
from onnxbuild.report.facts import ActionFacts, ReportFacts, TargetFacts
from onnxbuild.report.gate_text import gate_sentence
from onnxbuild.report.limit_place import gate_place


def annotate(account: Account, *, strict: bool = False) -> list[Diagnostic]:
    """Return errors first: what failed, then what is unverified (an error when `strict`), then warnings."""
    found = [*_actions(account), *_gates(account, strict), *_locks(account)]
    return sorted(found, key=lambda diagnostic: diagnostic.severity is Severity.WARNING)


def _gates(account: Account, strict: bool) -> Iterator[Diagnostic]:
    for recipe, target in account.targets:
        found = summary.final_metric(target)
        for gate in target.gates:
            if gate.verdict is Verdict.PASSED:
                continue
            failed = gate.verdict is Verdict.FAILED
            yield Diagnostic(
                code="gate-failed" if failed else "gate-unverified",
                message=f"{target.name}: {gate_sentence(gate, found[0].name if found else '')}",
                place=gate_place(gate, account.places.get(target.name, {})) or _start(recipe),
                note=gate.reason if failed else None,
                severity=Severity.ERROR if failed or strict else Severity.WARNING,
            )


def _locks(account: Account) -> Iterator[Diagnostic]:
    recipes = {target.name: recipe for recipe, target in account.targets}
    for lock in account.locks:
        for difference in lock.differences:
            yield Diagnostic(
                code="lock-differs",
                message=f"{lock.target}: {difference}",
                place=_start(recipes[lock.target]) if lock.target in recipes else None,
                hint=f"when that is meant: onnxbuild accept {lock.target}",
            )


def _actions(account: Account) -> Iterator[Diagnostic]:
    by_name = {target.name: (recipe, target) for recipe, target in account.targets}
    for action in account.actions:
        recipe, target = next(by_name[name] for name in action.targets if name in by_name)
        place = _action_place(action, target, account) or _start(recipe)
        if (failure := action.failure) is not None:
            yield Diagnostic(
                code=failure.code,
                message=f"{action.name} failed: {failure.message}",
                place=place,
                note=f"log {failure.log}" if failure.log else None,
                hint=failure.hint,
            )
        for warning in action.warnings:
            yield Diagnostic(
                code=warning.code,
                message=f"{action.name}: {warning.message}",
                place=place,
                severity=Severity.WARNING,
            )


def _action_place(action: ActionFacts, target: TargetFacts, account: Account) -> Place | None:
    places = account.places.get(target.name, {})
    return action_place(action.name, action.stage, places)


def _start(recipe: ReportFacts) -> Place:
    return Place(recipe.file, 1, 1)
