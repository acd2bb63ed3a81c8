"""May this ship? The verdict strip, the comparison of variants, and the table of gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from onnxbuild.engine.events import Failure
from onnxbuild.ir.facts import ModelFacts
from onnxbuild.proof.gates import GateResult, Verdict
from onnxbuild.recipe.lock import LockedTarget
from onnxbuild.report import numbers, summary
from onnxbuild.report.change_text import is_recipe_alone
from onnxbuild.report.facts import ReportFacts, TargetFacts
from onnxbuild.report.gate_text import doubt_text, gate_name, margin_text, measured_text, needs_limit
from onnxbuild.report.pages.guards import left_out_of
from onnxbuild.report.pages.recipe_lines import limit_line
from onnxbuild.report.pages.size import compressed, dtype_legend, dtype_tones, model_bar, sparsity
from onnxbuild.report.pages.table import Cell, Column, Mark, Row, Table, cap_rows, verdict_mark
from onnxbuild.targets.locking import gate_key


@dataclass(frozen=True)
class VerdictLine:
    """One target in the strip: its sentence, what stands in the way, and how it stands to what was accepted."""

    mark: Mark
    variant: str
    href: str
    sentence: str
    trouble: str
    accepted: str
    failure: Failure | None


def verdict_lines(facts: ReportFacts) -> tuple[VerdictLine, ...]:
    """Return one line a target, in the recipe's order."""
    return tuple(_line(facts, target) for target in facts.targets)


def lead(facts: ReportFacts) -> str:
    """Return the answer to "may this ship?" over all variants."""
    targets = facts.targets
    if not targets:
        return "The recipe has no target."
    by_word = {
        word: [t.variant for t in targets if target_mark(t).kind == kind]
        for kind, word in (("passed", "passed"), ("failed", "failed"), ("unverified", "unverified"))
    }
    missing = [t.variant for t in targets if target_mark(t).kind == "missing"]
    if len(targets) == 1:
        return {"passed": "Every gate passed.", "failed": "Failed.", "unverified": "Not verified."}.get(
            target_mark(targets[0]).kind, "Not built yet."
        )
    if len(by_word["passed"]) == len(targets):
        return f"All {len(targets)} variants passed every gate."
    said = [f"{len(names)} {word}" for word, names in by_word.items() if names]
    said += [f"{len(missing)} not built"] if missing else []
    return f"{numbers.plural(len(targets), 'variant')}: " + ", ".join(said) + "."


def target_mark(target: TargetFacts) -> Mark:
    """Return the target's mark; a target that a stage stopped has failed, whatever it was before."""
    return verdict_mark(target.verdict, stopped=target.failed_action is not None)


def comparison(facts: ReportFacts) -> Table | None:
    """Return the variants side by side; None for a recipe with one."""
    if len(facts.targets) < 2:
        return None
    metric = next((m[0].name for m in map(summary.final_metric, facts.targets) if m), None)
    columns = [Column("Variant"), Column("Verdict")]
    if metric is not None:
        columns += [Column(metric.replace("_", " ").capitalize(), "num"), Column("vs source", "num")]
    columns += [
        Column("Largest error", "num"),
        Column("Size", "num"),
        Column("by dtype", "chart"),
        Column("vs baseline", "num"),
        Column("Zeros", "num"),
        Column("Compressed", "num", "about"),
        Column("Nodes", "num"),
        Column("Gates passed", "num"),
    ]
    models = [model for target in facts.targets if (model := delivered(target))]
    tones = dtype_tones(facts.targets)
    largest = max((model.bytes for model in models), default=0)
    kept, shown = cap_rows([Row(tuple(_compare(facts, t, metric, tones, largest))) for t in facts.targets])
    return Table("Variants side by side", tuple(columns), kept, shown, legend=dtype_legend(tones, models))


def gate_table(facts: ReportFacts) -> Table:
    """Return every gate of every target, a group each, the worst first."""
    columns = (
        Column("Gate"),
        Column("Verdict"),
        Column("Measured", "num"),
        Column("Limit", "limit"),
        Column("Margin", "num"),
        Column("Accepted", "num wrap"),
        Column("Provider"),
        Column("Remark", "remark"),
    )
    rows: list[Row] = []
    groups = len(facts.targets) > 1
    left, cap = sum(len(t.gates) for t in facts.targets), 50
    shown_gates = 0
    for i, target in enumerate(facts.targets):
        gates = summary.order_gates(target.gates)
        fair = max(4, (cap - shown_gates) // (len(facts.targets) - i)) if shown_gates < cap else 0
        if not gates or not fair:
            continue
        if groups:
            rows.append(Row((Cell(name=target.variant, href="#" + summary.anchor(target)),), group=True))
        metric = _metric_name(target)
        rows += [Row(_gate_cells(facts, target, gate, metric)) for gate in gates[:fair]]
        shown_gates += min(fair, len(gates))
    shown = f"showing {shown_gates} of {left:,}, the worst of each variant first" if shown_gates < left else ""
    return Table(
        "Gates", columns, tuple(rows), shown, empty="No gate was judged: nothing is built yet.", hide_caption=True
    )


def failures(facts: ReportFacts) -> Sequence[tuple[str, Failure]]:
    """Return what stopped targets, once an action."""
    names = dict.fromkeys(t.failed_action for t in facts.targets if t.failed_action is not None)
    return [(a.name, a.failure) for a in facts.actions if a.name in names and a.failure is not None]


def _line(facts: ReportFacts, target: TargetFacts) -> VerdictLine:
    failure = next((a.failure for a in facts.actions if a.name == target.failed_action), None)
    if target.failed_action is not None:
        said = f"{target.variant} was stopped: {target.failed_action} failed."
        note = failure.message if failure else "Its log tells why."
    elif target.verdict is None:
        said, note = f"{target.variant} is not built.", ""
    else:
        said, note = summary.sentence(target, facts.targets) + ".", summary.trouble(target) or ""
    if (without := left_out_of(target)) and target.failed_action is None:
        note = (note.rstrip(".") + ". " if note else "") + f"{without}."
    if target.stale:
        note = (note.rstrip(".") + ". " if note else "") + "The folder in build/ still holds an older model."
    href, accepted = "#" + summary.anchor(target), _accepted(target)
    return VerdictLine(target_mark(target), target.variant, href, said, note, accepted, failure)


def _accepted(target: TargetFacts) -> str:
    text = summary.accepted_text(target)
    if target.changes is not None and target.changes.kind == "changed" and not is_recipe_alone(target.changes):
        text = f"Against the accepted build: {text}"
    waived = summary.waived_text(target.accepted.waivers) if target.accepted is not None else ""
    said = "; ".join(filter(None, (text, waived)))
    return f"{said[:1].upper()}{said[1:]}."


def delivered(target: TargetFacts) -> ModelFacts | None:
    """Return the model that was delivered; None where the target is not built."""
    return target.steps[-1].model if target.steps and summary.is_built(target) else None


def _compare(
    facts: ReportFacts, target: TargetFacts, metric: str | None, tones: dict[str, str], largest: int
) -> list[Cell]:
    cells = [Cell(name=target.variant, href="#" + summary.anchor(target)), Cell(mark=target_mark(target))]
    found = summary.final_metric(target)
    if metric is not None:
        cells += (
            [Cell(numbers.NONE)] * 2 if found is None else _metric_cells(found[0].name, found[0].model, found[0].source)
        )
    last = delivered(target)
    base = summary.baseline_of(target, facts.targets) if last else None
    passed = sum(gate.verdict is Verdict.PASSED for gate in target.gates)
    small = compressed(target) if last else None
    return [
        *cells,
        Cell(_largest_error(target) if last else numbers.NONE),
        Cell(numbers.size(target.bytes), title=numbers.exact_size(target.bytes) or "", sort=str(target.bytes or 0)),
        Cell(chart=model_bar(last, tones, largest, target.variant)) if last else Cell(),
        Cell(against(base, target.bytes)),
        Cell(numbers.percent(sparsity(last)) if last else numbers.NONE),
        Cell(numbers.size(small), sort=str(small or 0)),
        Cell(numbers.count(last.nodes) if last else numbers.NONE),
        Cell(f"{passed} of {len(target.gates)}" if target.gates else numbers.NONE),
    ]


def against(base: tuple[str, int] | None, size: int | None) -> str:
    """Return a size against its baseline, such as "28% of fp32"."""
    if base is None or not base[1] or not size:
        return numbers.NONE
    share = size / base[1]
    if base[0] == summary.EXPORTED:
        return "as exported" if abs(share - 1) < 0.005 else f"{numbers.percent(share, 0)} of the export"
    return f"{numbers.percent(share, 0)} of {base[0]}"


def _metric_cells(name: str, model: float | None, source: float | None) -> list[Cell]:
    change = "" if model is None or source is None else numbers.metric_change(name, model - source)
    return [Cell(numbers.metric_value(name, model)), Cell(change or numbers.NONE)]


def _metric_name(target: TargetFacts) -> str:
    found = summary.final_accuracy(target)
    metric = found[1][0].facts.metric if found else None
    return metric.name if metric else ""


def _largest_error(target: TargetFacts) -> str:
    found = summary.final_accuracy(target)
    values = [o.max_abs for o in found[1][0].facts.outputs] if found else []
    odd = next((value for value in values if isinstance(value, str)), None)
    if odd is not None:
        return numbers.number(odd)
    return numbers.number(max((v for v in values if isinstance(v, float | int)), default=None))


def _accepted_cell(gate: GateResult, metric: str, accepted: LockedTarget | None) -> Cell:
    """Return what the gate measured when the target was accepted."""
    measured = accepted.measured.get(gate_key(gate)) if accepted is not None else None
    waived = "waived" if accepted is not None and gate.gate in accepted.waivers else ""
    if accepted is None or measured is None:
        return Cell(numbers.NONE, note=waived)
    limit = accepted.limits.get(gate_key(gate))
    if limit is None and needs_limit(gate):
        return Cell(numbers.NONE, note=waived, title="the lock does not say what was required, which tells the unit")
    then = msgspec.structs.replace(gate, measured=measured, limit=limit or gate.limit)
    required = f"required {limit}" if limit not in (None, gate.limit) else ""
    return Cell(measured_text(then, metric), note="; ".join(filter(None, (required, waived))))


def _limit_cell(facts: ReportFacts, target: TargetFacts, gate: GateResult) -> Cell:
    """Return the limit, which leads to the line that the recipe has it in."""
    line = limit_line(facts, target, gate_key(gate))
    if line is None:
        return Cell(gate.limit)
    return Cell(gate.limit, href=f"#line-{line}", title=f"{facts.file}, line {line}")


def _gate_cells(facts: ReportFacts, target: TargetFacts, gate: GateResult, metric: str) -> tuple[Cell, ...]:
    source = f"source {numbers.metric_value(metric, gate.source)}" if gate.source is not None else ""
    remark = "; ".join(filter(None, (gate.reason, doubt_text(gate, metric))))
    return (
        Cell(name=gate_name(gate.gate), title=gate.gate),
        Cell(mark=verdict_mark(gate.verdict)),
        Cell(measured_text(gate, metric), note=source),
        _limit_cell(facts, target, gate),
        Cell(margin_text(gate, metric), tone="bad" if gate.margin is not None and gate.margin < 0 else ""),
        _accepted_cell(gate, metric, target.accepted),
        Cell(gate.provider or numbers.NONE),
        Cell(remark),
    )
