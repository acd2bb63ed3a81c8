"""Where a target really runs: what was asked and got on each provider, what went elsewhere and why, how they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxbuild.ort.facts import FellBack
from onnxbuild.proof.gates import GateResult, Verdict
from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.proof.placement import GATE
from onnxbuild.proof.timing import Loading
from onnxbuild.recipe.providers import TABLE
from onnxbuild.report import numbers
from onnxbuild.report.facts import ActionFacts, CompiledModel, ProviderPlacement, ReportFacts, RunFacts, TargetFacts
from onnxbuild.report.pages.table import Cell, Column, Row, Table, cap_rows, verdict_mark
from onnxbuild.stages.place import PlaceFacts

_SHORT_NAMES = {entry.full_name: name for name, entry in TABLE.items()}
NOT_SAID = "not said by the runtime"


@dataclass(frozen=True)
class Providers:
    """The providers of one target; `sentence` answers before the tables do, a table without rows is None."""

    sentence: str
    placement: Table
    compiled: Table | None
    elsewhere: Table | None
    agreement: Table | None


def providers(target: TargetFacts) -> Providers | None:
    """Return what became of the target on its providers; None where nothing is known yet."""
    if not target.placements:
        return None
    tables = _placement(target), _compiled(target), _elsewhere(target), _agreement(target)
    return Providers(_sentence(target), *tables)


def time_table(facts: ReportFacts) -> Table | None:
    """Return each provider's share of the measured time, which differs from build to build; None without any."""
    run = facts.volatile
    rows = [row for action in facts.actions for row in _time_rows(action, run)] if run is not None else []
    if not rows:
        return None
    columns = (Column("Target"), Column("Session on"), Column("Time spent on"), Column("Share of the time", "num"))
    kept, shown = cap_rows(rows)
    return Table("Share of the measured time by provider", columns, kept, shown)


def _time_rows(action: ActionFacts, run: RunFacts | None) -> list[Row]:
    times = run.actions[action.name].time if run is not None and action.name in run.actions else {}
    asked = action.name.rpartition("@")[2].partition(".")[0]
    return [
        Row((Cell(name=", ".join(action.targets)), Cell(asked), Cell(_short(provider)), Cell(numbers.percent(share))))
        for provider, share in sorted(times.items(), key=lambda pair: -pair[1])
    ]


def _sentence(target: TargetFacts) -> str:
    said = []
    for placement in target.placements:
        facts = placement.facts
        if facts.absent is not None:
            said.append(f"{placement.provider}: not here, so nothing was verified on it")
        elif facts.assignment is not None:
            got, nodes = facts.assignment.got(facts.asked), facts.assignment.nodes
            simulator = target.simulator(placement.provider)
            doubt = f", on {simulator}, which proves nothing of a device" if simulator is not None else ""
            said.append(f"{placement.provider}: {got:,} of {numbers.plural(nodes, 'node')} run on it{doubt}")
    return "; ".join(said) + "."


def _placement(target: TargetFacts) -> Table:
    gates = {gate.provider: gate for gate in target.gates if gate.gate == GATE}
    columns = (
        Column("Asked for"),
        Column("Verdict"),
        Column("Got"),
        Column("Nodes on it", "num"),
        Column("Elsewhere"),
        Column("Device"),
        Column("Kernels run", "num", note="after the runtime's fusion"),
        Column("Copies", "num", note="between devices"),
    )
    rows = tuple(Row(_cells(placement, gates.get(placement.provider))) for placement in target.placements)
    return Table("Placement", columns, rows, hide_caption=True)


def _cells(placement: ProviderPlacement, gate: GateResult | None) -> tuple[Cell, ...]:
    facts, assignment, profile = placement.facts, placement.facts.assignment, placement.facts.profile
    name = Cell(placement.provider, note=facts.asked)
    mark = Cell(mark=verdict_mark(gate.verdict), note=gate.limit) if gate is not None else Cell("no limit")
    if facts.absent is not None or assignment is None:
        blank = Cell(numbers.NONE)
        return name, mark, Cell("no session", note=facts.absent or ""), blank, blank, blank, blank, blank
    got, nodes = assignment.got(facts.asked), assignment.nodes
    share = got / nodes if nodes else None
    others = [f"{_short(p.provider)} {p.nodes:,}" for p in assignment.placed if p.provider != facts.asked and p.nodes]
    return (
        name,
        mark,
        Cell(", ".join(map(_short, facts.got))),
        Cell(numbers.percent(share), note=f"{got:,} of {nodes:,}", sort=str(share or 0)),
        Cell(", ".join(others) or numbers.NONE),
        Cell(_device(facts) or numbers.NONE),
        Cell(numbers.count(profile.kernels if profile else None), note=f"of {facts.model_nodes:,} in the file"),
        Cell(numbers.count(profile.copies if profile else None)),
    )


def _short(full_name: str) -> str:
    return _SHORT_NAMES.get(full_name, full_name)


def _device(facts: PlaceFacts) -> str:
    named = (d.title + (f", {d.library}" if d.library else "") for d in facts.devices)
    return "; ".join(dict.fromkeys(named))


def _elsewhere(target: TargetFacts) -> Table | None:
    found = [
        (placement.provider, node)
        for placement in target.placements
        if placement.facts.assignment is not None
        for node in placement.facts.assignment.fell_back
    ]
    total = sum(p.facts.assignment.fell_back_count for p in target.placements if p.facts.assignment is not None)
    if not found:
        return None
    columns = (Column("Asked for"), Column("Node"), Column("Operator", "code"), Column("Went to"), Column("Why"))
    rows, shown = cap_rows([Row(_fell_back(provider, node)) for provider, node in found], total)
    return Table("Nodes that went elsewhere", columns, rows, shown)


def _fell_back(provider: str, node: FellBack) -> tuple[Cell, ...]:
    return (
        Cell(provider),
        Cell(name=node.node or "(without a name)"),
        Cell(name=node.operator, code=True),
        Cell(_short(node.provider)),
        Cell(name=node.reason or NOT_SAID, fold=200),
    )


def _compiled(target: TargetFacts) -> Table | None:
    """Return what each provider compiled ahead, and what that saves when the model is opened."""
    columns = (
        Column("Compiled ahead by"),
        Column("Delivered"),
        Column("Size", "num"),
        Column("Parts", "num", note="pieces of the graph"),
        Column("Left to others", note="nodes outside them"),
        Column("Opens cold", "num", note="in a fresh process"),
        Column("Without", "num", note="model.onnx, compiled anew"),
    )
    rows = tuple(Row(_compiled_cells(target, model)) for model in target.compiled)
    return Table("Compiled models", columns, rows) if rows else None


def _compiled_cells(target: TargetFacts, model: CompiledModel) -> tuple[Cell, ...]:
    facts, blank = model.facts, Cell(numbers.NONE)
    name = Cell(model.provider, note=", ".join(facts.sdk))
    if facts.absent is not None:
        return name, Cell("nothing", note=facts.absent), blank, blank, blank, blank, blank
    timed = next((each.facts for each in target.benchmarks if each.provider == model.provider), None)
    loadings = (timed.loading, timed.plain_loading) if timed is not None else (None, None)
    left = ", ".join(f"{operator} {count:,}" for operator, count in facts.left.items())
    return (
        name,
        Cell(model.file, code=True) if model.file is not None else Cell("nothing", note="the target is not delivered"),
        Cell(numbers.size(facts.bytes), sort=str(facts.bytes)),
        Cell(numbers.count(facts.parts)),
        Cell(name=left or "nothing", fold=200),
        *(blank if loading is None else _opening(loading) for loading in loadings),
    )


def _opening(loading: Loading) -> Cell:
    again = numbers.milliseconds(loading.warm)
    return Cell(numbers.milliseconds(loading.cold), note=f"again {again}", sort=str(loading.cold))


def _agreement(target: TargetFacts) -> Table | None:
    """Return how far each provider's outputs are from the source's and from the CPU provider's."""
    last = next((step for step in reversed(target.steps) if step.accuracy), None)
    if last is None or not any(placement.facts.agreement for placement in target.placements):
        return None
    rows = []
    for accuracy in last.accuracy:
        placed = next((p.facts for p in target.placements if p.provider == accuracy.provider), None)
        for measures in accuracy.facts.outputs:
            other = _find(placed.agreement if placed is not None else (), measures.name)
            rows.append(
                Row(
                    (
                        Cell(accuracy.provider),
                        Cell(name=measures.name),
                        Cell(numbers.number(measures.max_abs)),
                        Cell(numbers.number(other.max_abs) if other is not None else numbers.NONE),
                    )
                )
            )
    calls = max(p.facts.calls for p in target.placements)
    columns = (
        Column("Provider"),
        Column("Output"),
        Column("From the source", "num", note="largest |x − r|"),
        Column("From the CPU provider", "num", note=f"on {numbers.plural(calls, 'call')}"),
    )
    kept, shown = cap_rows(rows)
    return Table("Agreement", columns, kept, shown)


def _find(measures: Sequence[OutputMeasures], name: str) -> OutputMeasures | None:
    return next((m for m in measures if m.name == name), None)


def mark_providers(target_providers: Sequence[str], gone: Sequence[str]) -> str:
    """Return the providers for a row of the index; those that are not there are said to be unverified."""
    return ", ".join(f"{p} ({Verdict.UNVERIFIED.value})" if p in gone else p for p in target_providers)
