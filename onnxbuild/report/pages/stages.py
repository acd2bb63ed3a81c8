"""What was done: actions with what each delivered, their lineage, and, apart, how this build came about."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from markupsafe import Markup

from onnxbuild.report import numbers
from onnxbuild.report.charts.bars import span
from onnxbuild.report.charts.lineage import MOST, Box, lineage
from onnxbuild.report.facts import ActionFacts, ActionRun, ReportFacts, RunFacts, StepFacts
from onnxbuild.report.pages.table import Cell, Column, Row, Table, cap_rows, short_digest
from onnxbuild.stages.auto import describe_winner
from onnxbuild.stages.packages import MODEL
from onnxbuild.stages.prune import PruneFacts
from onnxbuild.stages.quantize import QuantizeFacts
from onnxbuild.stages.repair import describe_choice

TOOLS = 48
"""Characters of an action's packages above which they are folded; the section on provenance has all of a page's."""
_DECISIONS = {"up-to-date": "up to date", "restore": "restored", "run": "ran", "blocked": "blocked", "waits": "waits"}


@dataclass(frozen=True)
class Scan:
    """The volatile block: a line on the run, and the actions with decision, reasons, time and host."""

    sentence: str
    command: str
    table: Table


def action_table(facts: ReportFacts) -> Table:
    """Return the actions in the plan's order: what each did, sizes, digest and tools."""
    columns = (
        Column("Action"),
        Column("What it did", "limit"),
        Column("In", "num"),
        Column("Out", "num"),
        Column("Result", "code", "digest"),
        Column("Tools", "limit"),
        Column("Warnings", "num"),
    )
    effects = {step.action: effect(step) for target in facts.targets for step in target.steps}
    rows, shown = cap_rows((Row(_action_cells(facts, action, effects)) for action in facts.actions), len(facts.actions))
    return Table("Actions", columns, rows, shown, empty="Nothing has run yet.", hide_caption=True)


def command_table(facts: ReportFacts) -> Table | None:
    """Return the command that reproduces each action alone; None where none is known."""
    rows = [
        Row((Cell(name=local_name(facts, a.name), title=a.name), Cell(a.command, code=True)))
        for a in facts.actions
        if a.command is not None
    ]
    kept, shown = cap_rows(rows)
    return Table("Commands that reproduce one action", (Column("Action"), Column("Command", "code")), kept, shown,
                 hide_caption=True) if rows else None  # fmt: skip


def effect(step: StepFacts) -> str:
    """Return what a step did to the model, in one clause."""
    model = step.model
    if step.optimize is not None and model is not None:
        worst = max(step.optimize.worst.values(), default=0.0)
        if not step.optimize.changed:
            return "changed nothing"
        return f"{step.optimize.nodes_before} → {model.nodes} nodes; probe differs by {numbers.number(worst)}"
    if step.prune is not None:
        return _prune_effect(step.prune)
    if step.quantize is not None:
        return _quantize_effect(step.quantize)
    if step.auto is not None:
        return describe_winner(step.auto)
    if step.repair is not None:
        facts = step.repair
        return describe_choice(facts.choice, facts.layers) if facts.changed else "changed nothing"
    if step.package is not None:
        return "packed " + ", ".join(sorted(step.package.digests)[:3])
    if step.export is not None and model is not None:
        return f"{numbers.plural(model.nodes, 'node')}, opset {model.opsets.get('', '?')}, IR {model.ir_version}"
    return ""


def draw_lineage(facts: ReportFacts) -> Markup | None:
    """Return the drawing of how actions feed each other; None when there are none, or too many for a picture."""
    if not 1 < len(facts.actions) <= MOST:
        return None
    boxes = [
        Box(
            action.name,
            local_name(facts, action.name),
            action.title,
            "failed" if action.failure else "ok" if action.done else "missing",
            action.inputs,
        )
        for action in facts.actions
    ]
    return lineage(boxes, f"Lineage of {len(boxes)} actions, sources to the left; the table above has them in order")


def scan(facts: ReportFacts) -> Scan | None:
    """Return how this build came about; None when it was not recorded."""
    run = facts.volatile
    if run is None:
        return None
    whole = max([(r.started or 0.0) + (r.seconds or 0.0) for r in run.actions.values()], default=0.0)
    rows = [
        Row(_scan_cells(facts, action, run.actions[action.name], whole))
        for action in facts.actions
        if action.name in run.actions
    ]
    kept, shown = cap_rows(rows)
    columns = (
        Column("Action"),
        Column("This run"),
        Column("Why it last ran", "limit"),
        Column("Took", "num"),
        Column("When in the run", "chart"),
        Column("Made", "text"),
        Column("Host"),
    )
    table = Table("How this build came about", columns, kept, shown, empty="No action was recorded.", hide_caption=True)
    return Scan(_run_sentence(run), run.command or "", table)


def local_name(facts: ReportFacts, action: str) -> str:
    """Return an action's name without the recipe's: "digits-cnn:int8/quantize" is "int8/quantize"."""
    if action.startswith((facts.name + "/", facts.name + ":")):
        return action[len(facts.name) + 1 :]
    return action


def _owner(facts: ReportFacts, action: str) -> str:
    """Return the recipe that an action is named after where it is another one, which needs the same work."""
    recipe = re.split("[/:]", action, maxsplit=1)[0]
    return "" if recipe == facts.name else recipe


def _action_cells(facts: ReportFacts, action: ActionFacts, effects: dict[str, str]) -> tuple[Cell, ...]:
    main = action.artifacts[0] if action.artifacts else None
    packages = sorted(action.packages.items(), key=lambda package: (package[0] in MODEL, package))
    tools = ", ".join(f"{name} {version}" for name, version in packages)
    effect_ = effects.get(action.name, "")
    did = f"failed: {action.failure.message}" if action.failure else effect_
    empty = "" if action.done or action.failure else "has not run"
    notes = [action.title] if (did or empty) and action.title != action.stage else []
    notes += [f"shared with {owner}"] if (owner := _owner(facts, action.name)) else []
    return (
        Cell(name=local_name(facts, action.name), note="; ".join(notes), title=action.name),
        Cell(did or empty or action.title or numbers.NONE, tone="bad" if action.failure else ""),
        Cell(numbers.size(action.bytes_in), title=numbers.exact_size(action.bytes_in) or ""),
        Cell(numbers.size(action.bytes_out), title=numbers.exact_size(action.bytes_out) or ""),
        Cell(short_digest(main.digest) if main else numbers.NONE, title=main.digest if main else "", code=True),
        Cell(name=tools, fold=TOOLS),
        Cell(str(len(action.warnings)) if action.warnings else "", href="#warnings" if action.warnings else ""),
    )


def _scan_cells(facts: ReportFacts, action: ActionFacts, run: ActionRun, whole: float) -> tuple[Cell, ...]:
    status = "" if run.status in (None, "ok") else f", {run.status}"
    chart = None
    if run.started is not None and run.seconds is not None:
        label = f"from {numbers.seconds(run.started)} to {numbers.seconds(run.started + run.seconds)} of the run"
        chart = span(run.started, run.seconds, whole, label, tone="beyond" if status else "plain")
    return (
        Cell(name=local_name(facts, action.name), title=action.name),
        Cell(_DECISIONS.get(run.decision, run.decision) + status, tone="bad" if run.status == "failed" else ""),
        Cell("; ".join(run.reasons) or numbers.NONE),
        Cell(numbers.seconds(run.seconds), sort=str(run.seconds or 0)),
        Cell(chart=chart, text="" if chart else numbers.NONE),
        Cell((run.made or numbers.NONE).replace("T", " ")[:19], tone="even"),
        Cell(run.host or numbers.NONE),
    )


def _run_sentence(run: RunFacts) -> str:
    counts = Counter(_DECISIONS.get(r.decision, r.decision) for r in run.actions.values())
    said = ", ".join(f"{n} {word}" for word, n in sorted(counts.items()))
    took = f" in {numbers.seconds(run.seconds)}" if run.seconds is not None else ""
    drawn = f"; drawn {run.drawn.replace('T', ' ')[:19]}" if run.drawn else ""
    return f"{numbers.plural(len(run.actions), 'action')}: {said or 'none'}{took}{drawn}."


def _prune_effect(facts: PruneFacts) -> str:
    elements = sum(t.elements for t in facts.tensors)
    zeros = sum(t.zeros for t in facts.tensors)
    if not facts.tensors or zeros == sum(t.zeros_before for t in facts.tensors):
        return "changed nothing"
    tensors = numbers.plural(len(facts.tensors), "tensor")
    return f"{numbers.percent(zeros / elements)} of {numbers.count(elements)} weights in {tensors} are zero"


def _quantize_effect(facts: QuantizeFacts) -> str:
    if not facts.changed:
        return "changed nothing"
    made = ", ".join(f"{n} {op}" for op, n in sorted(facts.quantized.items())) or "no operator"
    kept = ", ".join(f"{n} {op}" for op, n in sorted(facts.kept.items()))
    return f"{made} converted" + (f"; {kept} kept in float" if kept else "")
