"""What a make came to as a JUnit file: a test case for each gate and each action that ran; knows no CI system."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from xml.etree import ElementTree

from onnxbuild.base.annotations import sentences
from onnxbuild.base.diagnostics import Severity
from onnxbuild.engine.events import ActionDone, DecisionKind, Status
from onnxbuild.proof.gates import GateResult, Verdict
from onnxbuild.report import summary
from onnxbuild.report.account import Account
from onnxbuild.report.facts import ReportFacts, TargetFacts
from onnxbuild.report.gate_text import gate_sentence
from onnxbuild.report.names import visible

Element = ElementTree.Element


def junit(account: Account) -> bytes:
    """Return the XML: a suite for each recipe. A stage or gate that failed is a failure, what is unverified is skipped.

    A target that no gate could be judged of has a case of its own, so that it cannot go missing unseen.
    """
    told: set[str] = set()
    suites = [_suite(recipe.name, _cases(account, recipe, told)) for recipe in account.recipes]
    if account.problems:
        suites.append(_suite("recipes", _problems(account)))
    root = Element("testsuites", name="onnxbuild")
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    root.extend(suites)
    ElementTree.indent(root)
    text: str = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()


def _suite(name: str, cases: Iterable[Element]) -> Element:
    suite = Element("testsuite", name=visible(name))
    suite.extend(cases)
    suite.set("tests", str(len(suite)))
    for tag, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(count, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("time", f"{sum(float(case.get('time', '0')) for case in suite):.3f}")
    return suite


def _cases(account: Account, recipe: ReportFacts, told: set[str]) -> Iterator[Element]:
    """Yield the cases of a recipe; an action that recipes share is told of with the first of them."""
    for action in recipe.actions:
        done = account.done.get(action.name)
        asked = action.name not in told and account.selected.intersection(action.targets)
        if done is not None and asked and _has_run(done):
            told.add(action.name)
            yield _action_case(recipe, done)
    for target in recipe.targets:
        if target.name in account.selected:
            yield from _target_cases(recipe, target)
            yield from _lock_cases(account, recipe, target)


def _has_run(done: ActionDone) -> bool:
    return done.decision is DecisionKind.RUN and (done.status is Status.FAILED or done.estimate is None)


def _action_case(recipe: ReportFacts, done: ActionDone) -> Element:
    case = _case(f"{recipe.name}.actions", done.action, done.seconds)
    if (failure := done.failure) is not None:
        parts = [failure.message, *(f"{label}: {text}" for label, text in (
            ("tool", failure.tool), ("node", failure.node), ("hint", failure.hint), ("log", failure.log)
        ) if text), *([failure.traceback] if failure.traceback else [])]  # fmt: skip
        _add(case, "failure", failure.message, failure.code, "\n".join(parts))
    if done.warnings:
        said = ElementTree.SubElement(case, "system-err")
        said.text = "\n".join(visible(f"{warning.message} [{warning.code}]") for warning in done.warnings)
    return case


def _target_cases(recipe: ReportFacts, target: TargetFacts) -> Iterator[Element]:
    suite = f"{recipe.name}.{target.variant}"
    found = summary.final_metric(target)
    metric = found[0].name if found else ""
    for gate in target.gates:
        yield _gate_case(suite, gate, metric)
    if not target.gates:
        case = _case(suite, "verdict")
        if target.verdict is Verdict.FAILED:
            _add(case, "failure", summary.target_summary(recipe, target), "verdict", "")
        elif target.verdict is not Verdict.PASSED:
            why = "not built" if target.verdict is None else "unverified: no gate could be judged"
            _add(case, "skipped", why, "", "")
        yield case


def _lock_cases(account: Account, recipe: ReportFacts, target: TargetFacts) -> Iterator[Element]:
    for lock in account.locks:
        if lock.target == target.name:
            case = _case(f"{recipe.name}.{target.variant}", "lock")
            if lock.differences:
                _add(case, "failure", lock.differences[0], "lock", "\n".join(lock.differences))
            yield case


def _gate_case(suite: str, gate: GateResult, metric: str) -> Element:
    case = _case(suite, gate.gate + (f" on {gate.provider}" if gate.provider else ""))
    said = gate_sentence(gate, metric)
    if gate.verdict is Verdict.FAILED:
        more = [said, f"limit: {gate.limit}", f"measured: {gate.measured}", *([gate.reason] if gate.reason else [])]
        _add(case, "failure", said, "gate", "\n".join(more))
    elif gate.verdict is Verdict.UNVERIFIED:
        _add(case, "skipped", said, "", "")
    return case


def _problems(account: Account) -> Iterator[Element]:
    for problem in account.problems:
        case = _case("recipes", f"{problem.place or ''} {problem.code}".strip())
        if problem.severity is Severity.ERROR:
            _add(case, "error", problem.message, problem.code, "\n".join(sentences(problem)))
        yield case


def _case(suite: str, name: str, seconds: float = 0.0) -> Element:
    return Element("testcase", classname=visible(suite), name=visible(name), time=f"{seconds:.3f}")


def _add(case: Element, tag: str, message: str, kind: str, text: str) -> None:
    element = ElementTree.SubElement(case, tag, message=visible(message))
    if kind:
        element.set("type", kind)
    if text:
        element.text = visible(text)
