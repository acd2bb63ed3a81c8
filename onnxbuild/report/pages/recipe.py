"""One recipe's page, put together from its sections in the order a reviewer asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from onnxbuild.engine.events import Failure
from onnxbuild.proof.gates import Verdict
from onnxbuild.report import summary
from onnxbuild.report.facts import ReportFacts, TargetFacts
from onnxbuild.report.pages import (
    accuracy,
    changes,
    culprits,
    front,
    graph,
    guards,
    latency,
    provenance,
    providers,
    recipe_lines,
    size,
    stages,
    tuning,
    verdict,
    warnings,
)
from onnxbuild.report.pages.table import Mark, Table

MOST_DETAILED = 12
"""Variants with a section of their own on the page; the tables above and the JSON twin have all."""
MOST_OPEN = 6
"""Variants up to which every section starts open; above, only those that did not pass."""


@dataclass(frozen=True)
class VariantSection:
    """One variant in detail; a part is None where there is nothing to show, and `empty` says why."""

    id: str
    variant: str
    mark: Mark
    sentence: str
    trouble: str
    is_open: bool
    files: tuple[tuple[str, str], ...]
    lines: tuple[recipe_lines.Line, ...]
    accuracy: tuple[accuracy.Accuracy, ...]
    accuracy_empty: str
    nonfinite: str
    providers: providers.Providers | None
    front: front.Front | None
    repair: culprits.Part | None
    culprits: culprits.Part | None
    latency: latency.LatencySection | None
    size: size.Size | None
    memory: Table | None
    loading: Table | None
    tuning: tuning.Tuning | None
    graph: graph.Graph | None
    empty: str


@dataclass(frozen=True)
class RecipePage:
    """Everything that the template of a recipe prints."""

    name: str
    description: str
    file: str
    version: str
    lead: str
    verdicts: tuple[verdict.VerdictLine, ...]
    failures: Sequence[tuple[str, Failure]]
    comparison: Table | None
    gates: Table
    changes: changes.Changes
    differences: tuple[recipe_lines.Difference, ...]
    actions: Table
    commands: Table | None
    guards: guards.Guards | None
    lineage: Markup | None
    scan: stages.Scan | None
    time: Table | None
    times: Table | None
    variants: tuple[VariantSection, ...]
    left_out: tuple[verdict.VerdictLine, ...]
    provenance: provenance.Provenance
    warnings: Table
    lines: tuple[recipe_lines.Line, ...]
    twin: str


def recipe_page(facts: ReportFacts, detailed: int = MOST_DETAILED) -> RecipePage:
    """Return the page of one recipe, with at most `detailed` variants in detail, those that did not pass first."""
    largest = max((step.model.bytes for t in facts.targets for step in t.steps if step.model), default=0)
    tones = size.dtype_tones(facts.targets)
    shown = sorted(facts.targets, key=_passed)[:detailed]
    names = {target.name for target in shown}
    drawn: dict[str, str] = {}
    for target in facts.targets:
        for step in target.steps if target.name in names else ():
            drawn.setdefault(step.action, target.name)
    lines = verdict.verdict_lines(facts)
    return RecipePage(
        name=facts.name,
        description=facts.description,
        file=facts.file,
        version=facts.version,
        lead=verdict.lead(facts),
        verdicts=lines,
        failures=verdict.failures(facts),
        comparison=verdict.comparison(facts),
        gates=verdict.gate_table(facts),
        changes=changes.changes(facts),
        differences=recipe_lines.differences(facts),
        actions=stages.action_table(facts),
        commands=stages.command_table(facts),
        guards=guards.guards(facts),
        lineage=stages.draw_lineage(facts),
        scan=stages.scan(facts),
        time=providers.time_table(facts),
        times=culprits.times(facts),
        variants=tuple(_variant(facts, t, tones, largest, drawn) for t in facts.targets if t.name in names),
        left_out=tuple(line for t, line in zip(facts.targets, lines, strict=True) if t.name not in names),
        provenance=provenance.provenance(facts),
        warnings=warnings.warning_table(facts),
        lines=recipe_lines.all_lines(facts),
        twin=f"{facts.name}.json",
    )


def _passed(target: TargetFacts) -> bool:
    return verdict.target_mark(target).kind == "passed"


def _variant(
    facts: ReportFacts, target: TargetFacts, tones: dict[str, str], largest: int, drawn: Mapping[str, str]
) -> VariantSection:
    """Return a variant's section; `drawn` names of each action the variant that shows what it did to the graph."""
    built = target.verdict is not None and target.failed_action is None
    nonfinite = target.reference.nonfinite if target.reference else {}
    said = ", ".join(f"{n:,} in {name}" for name, n in sorted(nonfinite.items()) if n)
    return VariantSection(
        id=summary.anchor(target),
        variant=target.variant,
        mark=verdict.target_mark(target),
        sentence=summary.sentence(target, facts.targets) + "." if built else "",
        trouble=(summary.trouble(target) or "") if built else summary.target_summary(facts, target),
        is_open=len(facts.targets) <= MOST_OPEN or not _passed(target),
        files=_files(target),
        lines=recipe_lines.variant_lines(facts, target),
        accuracy=accuracy.accuracy(target),
        accuracy_empty=_accuracy_empty(target),
        nonfinite=f"The source's own outputs hold values that are not finite: {said}." if said else "",
        providers=providers.providers(target),
        front=front.front(target),
        repair=culprits.repair(target),
        culprits=culprits.culprits(target),
        latency=latency.latency(target),
        size=size.size(target, tones, largest),
        memory=latency.memory_table(target),
        loading=latency.loading_table(target),
        tuning=tuning.tuning(target.tuning),
        graph=graph.graph(target, tones, _elsewhere(facts, target, drawn)),
        empty="No model was made: there is nothing to show yet." if not target.steps else "",
    )


def _elsewhere(facts: ReportFacts, target: TargetFacts, drawn: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return of each action whose picture another variant shows that variant's name and link."""
    owners = {t.name: (t.variant, "#" + summary.anchor(t)) for t in facts.targets}
    return {action: owners[owner] for action, owner in drawn.items() if owner != target.name}


def _files(target: TargetFacts) -> tuple[tuple[str, str], ...]:
    """Return where the judged model is: delivered, or in the store when it failed."""
    if target.sha256 is None:
        return ()
    digest = ("SHA-256 of the judged model", target.sha256)
    more = (digest, *((("Made for machines like", target.tied_to),) if target.tied_to is not None else ()))
    if target.verdict is Verdict.FAILED:
        return ("Not delivered; to study it", f"onnxbuild get {target.name} --out DIR"), *more
    return ("Delivered", target.output or ""), *more


def _accuracy_empty(target: TargetFacts) -> str:
    if target.failed_action is not None:
        return f"Not measured: {target.failed_action} failed first."
    return "Not measured: the target is not built." if target.verdict is None else "No validation was recorded."
