"""What a make came to as Markdown, for a comment on a pull request or a job's summary; knows no CI system."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from onnxbuild.base.diagnostics import Severity
from onnxbuild.engine.events import ActionDone, DecisionKind, Status
from onnxbuild.proof.gates import Verdict
from onnxbuild.report import numbers, summary
from onnxbuild.report.account import Account
from onnxbuild.report.facts import ReportFacts, TargetFacts
from onnxbuild.report.gate_text import gate_name, margin_text, measured_text
from onnxbuild.report.names import shorten, visible

LIMIT = 60_000
"""Characters; GitHub takes comments of 65,536."""
_ROWS = (100, 30, 10, 3)
"""Rows of a table and items of a list; fewer where the whole would be too long."""
_NAME, _TEXT = 72, 240
_ICONS = {"failed": "❌", "unverified": "⚠️", "passed": "✅", "not built": "➖"}
_MEANS_SOMETHING = re.compile(r"[\\`*{}\[\]<>#&|~!$\"^]|(?<!\w)_|_(?!\w)|:(?=/)|:(?=[\w+-]+:)|(?<=www)\.")
_REFERS = re.compile(r"[@#!~&$%](?=\w)")
_LINE_ENDS = re.compile(r"\s*[\r\n\t\u2028\u2029]\s*")


def markdown(account: Account, folder: Path) -> str:
    """Return the summary; its links are relative to `folder`, where it is to lie."""
    for most in _ROWS:
        text = "\n\n".join(_blocks(account, folder, most)) + "\n"
        if len(text) <= LIMIT:
            break
    return text


def plain(text: str, limit: int = _TEXT) -> str:
    """Return text from outside so that no reader of Markdown or HTML takes anything in it for more than text.

    What begins a mention or a reference is parted from what follows, because sites look for them in what Markdown left.
    """
    return _escape(_REFERS.sub("\\g<0>\u200b", text), limit)


def code(name: str) -> str:
    """Return a name from outside in the type of code, in which no site looks for mentions."""
    return f"<code>{_escape(name, _NAME)}</code>"


def _escape(text: str, limit: int) -> str:
    shown = shorten(visible(_LINE_ENDS.sub(" ", text)), limit)
    return _MEANS_SOMETHING.sub(lambda match: f"&#{ord(match[0])};", shown)


def _blocks(account: Account, folder: Path, most: int) -> Iterator[str]:
    if account.problems:
        yield from _wrong_recipes(account, most)
        return
    yield f"## onnxbuild: {_headline(account)}"
    yield from _gates(account, folder, most, Verdict.FAILED, "Failed gates")
    yield from _failures(account, most)
    yield from _locks(account, most)
    yield from _verdicts(account, folder, most)
    yield from _gates(account, folder, most, Verdict.UNVERIFIED, "Not verified")
    yield from _work(account, most)
    index = account.reports / "index.html"
    yield f"Reports: {_link('all targets', index, folder)}"


def _headline(account: Account) -> str:
    verdicts = Counter(_verdict(target) for _, target in account.targets)
    return ", ".join(f"{verdicts[word]} {word}" for word in _ICONS if verdicts[word]) or "nothing to judge"


def _verdict(target: TargetFacts) -> str:
    if target.failed_action is not None:
        return "failed"
    return target.verdict.value if target.verdict is not None else "not built"


def _verdicts(account: Account, folder: Path, most: int) -> Iterator[str]:
    targets = sorted(account.targets, key=lambda pair: list(_ICONS).index(_verdict(pair[1])))
    rows = [_target_row(account, recipe, target, folder) for recipe, target in targets[:most]]
    heads = ("Target", "Verdict", "Metric", "vs source", "Size", "vs baseline", "Gates passed")
    if rows:
        yield _table(heads, "llrrrrr", rows) + _left_out(len(rows), len(targets))


def _target_row(account: Account, recipe: ReportFacts, target: TargetFacts, folder: Path) -> tuple[str, ...]:
    metric, change = numbers.NONE, numbers.NONE
    if (found := summary.final_metric(target)) is not None:
        measure, _ = found
        metric = f"{plain(measure.name.replace('_', ' '), 40)} {numbers.metric_value(measure.name, measure.model)}"
        if measure.model is not None and measure.source is not None:
            change = numbers.metric_change(measure.name, measure.model - measure.source)
            change += numbers.metric_unit(measure.name)
    base = summary.baseline_of(target, recipe.targets) if summary.is_built(target) else None
    against = numbers.NONE
    if base is not None and target.bytes is not None:
        against = f"{numbers.size_change(base[1], target.bytes) or 'as large'} ({plain(base[0], 40)})"
    passed = sum(gate.verdict is Verdict.PASSED for gate in target.gates)
    word = _verdict(target)
    page = account.reports / f"{recipe.name}.html"
    return (
        _link(code(target.name), page, folder, summary.anchor(target)),
        f"{_ICONS[word]} {word}",
        metric,
        change,
        numbers.size(target.bytes),
        against,
        f"{passed} of {len(target.gates)}" if target.gates else numbers.NONE,
    )


def _gates(account: Account, folder: Path, most: int, verdict: Verdict, title: str) -> Iterator[str]:
    found = [(r, t, gate) for r, t in account.targets for gate in t.gates if gate.verdict is verdict]
    if not found:
        return
    rows = []
    for recipe, target, gate in found[:most]:
        metric = summary.final_metric(target)
        name = metric[0].name if metric is not None else ""
        page = account.reports / f"{recipe.name}.html"
        why = measured_text(gate, name) if verdict is Verdict.FAILED else plain(gate.reason or "not measured")
        rows.append((
            _link(code(target.name), page, folder, "gates"),
            code(gate_name(gate.gate)),
            plain(gate.provider or numbers.NONE),
            plain(gate.limit),
            why,
            *((margin_text(gate, name),) if verdict is Verdict.FAILED else ()),
        ))  # fmt: skip
    last = ("Measured", "Margin") if verdict is Verdict.FAILED else ("Why",)
    aligned = "llllrr" if verdict is Verdict.FAILED else "lllll"
    table = _table(("Target", "Gate", "Provider", "Limit", *last), aligned, rows)
    yield f"### {title}\n\n" + table + _left_out(len(rows), len(found))


def _failures(account: Account, most: int) -> Iterator[str]:
    failed = [action for action in account.actions if action.failure is not None]
    if not failed:
        return
    lines = []
    for action in failed[:most]:
        failure = action.failure
        assert failure is not None
        hint = f" {plain(failure.hint)}" if failure.hint else ""
        log = f" Log: {code(failure.log)}." if failure.log else ""
        lines.append(f"- {code(action.name)}: {plain(failure.message)} ({code(failure.code)}).{hint}{log}")
    yield "### Failed stages\n\n" + "\n".join(lines) + _left_out(len(lines), len(failed))


def _locks(account: Account, most: int) -> Iterator[str]:
    found = [(lock.target, difference) for lock in account.locks for difference in lock.differences]
    if found:
        lines = [f"- {code(target)}: {plain(difference)}" for target, difference in found[:most]]
        yield "### Other than accepted\n\n" + "\n".join(lines) + _left_out(len(lines), len(found))


def _work(account: Account, most: int) -> Iterator[str]:
    done = [event for event in account.done.values() if event.decision in (DecisionKind.RUN, DecisionKind.WAITS)]
    counts = Counter(event.decision for event in account.done.values())
    rest = [
        f"{counts[kind]} {word}"
        for kind, word in (
            (DecisionKind.RESTORE, "restored"),
            (DecisionKind.UP_TO_DATE, "up to date"),
            (DecisionKind.BLOCKED, "not reached"),
        )
        if counts[kind]
    ]
    if not done:
        yield f"Nothing had to run: {', '.join(rest) or 'no action'}."
        return
    lines = [_work_line(event) for event in done[:most]]
    others = f"\n\nBesides: {', '.join(rest)}." if rest else ""
    title = f"<details><summary>What ran, and why: {numbers.plural(len(done), 'action')}</summary>"
    yield f"{title}\n\n" + "\n".join(lines) + _left_out(len(lines), len(done)) + others + "\n\n</details>"


def _work_line(event: ActionDone) -> str:
    ran = event.status is Status.FAILED or event.estimate is None
    took = numbers.seconds(event.seconds) if ran else "would run"
    why = "; ".join(event.reasons) or "its inputs changed"
    warned = f"; {numbers.plural(len(event.warnings), 'warning')}" if event.warnings else ""
    return f"- {code(event.action)} ({took}{warned}): {plain(why)}"


def _wrong_recipes(account: Account, most: int) -> Iterator[str]:
    errors = [problem for problem in account.problems if problem.severity is Severity.ERROR]
    yield f"## onnxbuild: nothing was made, {numbers.plural(len(errors), 'error')} in the call or its recipes"
    lines = []
    for problem in account.problems[:most]:
        place = f"{code(str(problem.place))}: " if problem.place is not None else ""
        hint = f" Hint: {plain(problem.hint)}" if problem.hint else ""
        lines.append(f"- {place}{plain(problem.message)} ({code(problem.code)}).{hint}")
    yield "\n".join(lines) + _left_out(len(lines), len(account.problems))


def _table(heads: Sequence[str], aligned: str, rows: Iterable[Sequence[str]]) -> str:
    rule = ["--:" if side == "r" else "---" for side in aligned[: len(heads)]]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rule, *rows))


def _left_out(shown: int, whole: int) -> str:
    return f"\n\nShowing {shown} of {whole:,}." if shown < whole else ""


def _link(shown: str, page: Path, folder: Path, anchor: str = "") -> str:
    way = os.path.relpath(page.resolve(), folder.resolve())
    return f"[{shown}]({quote(way)}{'#' + quote(anchor) if anchor else ''})"
