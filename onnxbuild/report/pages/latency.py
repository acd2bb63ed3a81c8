"""How long one target's calls take: every run as a line, percentiles, batches, and turns against another variant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from onnxbuild.proof.timing import Estimate, Latency, Setting, Versus
from onnxbuild.report import numbers
from onnxbuild.report.charts.distribution import LOW, Line, distribution, scale_end
from onnxbuild.report.facts import BenchmarkedProvider, TargetFacts, VersusFacts
from onnxbuild.report.numbers import milliseconds
from onnxbuild.report.pages.table import Cell, Column, Row, Table, cap_rows

OWN, OTHER = "a", "b"
_SETTINGS = {
    (True, True): "Arena and pattern",
    (True, False): "No memory pattern",
    (False, True): "No arena",
    (False, False): "Neither",
}
"""Whether a session has an arena and a memory pattern, in words."""


@dataclass(frozen=True)
class Against:
    """The turns against another variant: what they say, and all runs of both."""

    sentence: str
    chart: Markup
    legend: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LatencyPart:
    """The runs on one provider; `facts` tell where they were measured. Without any there is the sentence alone."""

    provider: str
    sentence: str
    table: Table | None
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LatencySection:
    """All of one target's measured times."""

    parts: tuple[LatencyPart, ...]
    against: Against | None


def latency(target: TargetFacts) -> LatencySection | None:
    """Return what was measured of the target; None where nothing was."""
    if not target.benchmarks and target.versus is None:
        return None
    parts = tuple(_part(target, measured) for measured in target.benchmarks)
    if target.versus is None:
        return LatencySection(parts, None)
    return LatencySection(parts, _against(target.variant, target.versus, target.simulator(target.versus.provider)))


def memory_table(target: TargetFacts) -> Table | None:
    """Return the peak memory of the target on each provider; None where it was not measured."""
    rows = []
    for measured in target.benchmarks:
        memory = measured.facts.memory
        if memory is None:
            continue
        used = f"of it {numbers.size(memory.in_use)} in use at once" if memory.in_use is not None else ""
        peaks = {(one.arena, one.pattern): _peak(one) for one in memory.settings}
        cells = (
            Cell(measured.provider, note=_beside(f"batch {memory.batch}", target.simulator(measured.provider))),
            *(peaks.get(setting, Cell(numbers.NONE)) for setting in _SETTINGS),
            Cell(numbers.size(memory.arena), note=used),
            Cell(numbers.size(memory.base), note="the process itself"),
        )
        rows.append(Row(cells))
    if not rows:
        return None
    columns = (
        Column("Provider"),
        *(Column(title, "num") for title in _SETTINGS.values()),
        Column("Arena holds", "num"),
        Column("One-node model", "num"),
    )
    return Table("Peak memory of a fresh process, above that of one with a one-node model", columns, tuple(rows))


def loading_table(target: TargetFacts) -> Table | None:
    """Return how long the target takes to open on each provider; None where it was not measured."""
    rows = []
    for measured in target.benchmarks:
        loading = measured.facts.loading
        if loading is not None:
            times = (loading.cold, loading.first, loading.warm, loading.first_warm)
            cells = (Cell(numbers.NONE if value is None else milliseconds(value)) for value in times)
            rows.append(Row((Cell(measured.provider, note=_beside("", target.simulator(measured.provider))), *cells)))
    if not rows:
        return None
    columns = (
        Column("Provider"),
        Column("Opens cold", "num", note="in a fresh process, the system told to forget its file"),
        Column("First call", "num"),
        Column("Opens warm", "num", note="again in that process"),
        Column("First call", "num"),
    )
    return Table("Loading", columns, tuple(rows))


def _peak(setting: Setting) -> Cell:
    low, high = (numbers.size(round(end)) for end in (setting.peak.low, setting.peak.high or setting.peak.value))
    notes = (["this session"] if setting.own else []) + ([f"{low} to {high}"] if low != high else [])
    return Cell(numbers.size(round(setting.peak.value)), note=", ".join(notes))


def versus_sentence(variant: str, other: str, versus: Versus) -> str:
    """Return what the turns say: faster, slower, or no difference that is not chance."""
    ratio = versus.ratio
    interval = f"{ratio.low:.3f}x " + (f"to {ratio.high:.3f}x" if ratio.high is not None else "or more")
    seen = f"{ratio.value:.3f}x as fast, 99% interval {interval}, over {numbers.count(versus.rounds)} rounds in turns"
    rows = f" at batch {versus.batch}" if versus.batch != 1 else ""
    if not ratio.decides(1.0):
        return f"No significant difference between {variant} and {other}{rows}: {seen}."
    return f"{variant} is {'faster' if ratio.value > 1 else 'slower'} than {other}{rows}: {seen}."


def _part(target: TargetFacts, measured: BenchmarkedProvider) -> LatencyPart:
    latencies = measured.facts.latencies
    sentence = _sentence(target.variant, latencies, measured.facts.absent)
    sentence += _doubt(target.simulator(measured.provider))
    if not latencies:
        return LatencyPart(measured.provider, sentence, None, ())
    columns = (
        Column("Batch"),
        Column("p50", "num"),
        Column("p90", "num"),
        Column("p95", "num"),
        Column("p99", "num"),
        Column("Mean", "num", note="± standard deviation"),
        Column("Least and most", "num"),
        Column("Rows a second", "num"),
        Column("Runs", "num"),
        Column("Every run, from 0", "chart"),
    )
    rows, shown = cap_rows([Row(_cells(each)) for each in latencies])
    table = Table("Latency by batch size", columns, rows, shown, hide_caption=True)
    return LatencyPart(measured.provider, sentence, table, _where(target, measured))


def _sentence(variant: str, latencies: Sequence[Latency], absent: str | None) -> str:
    if not latencies:
        return f"Not measured: {absent or 'nothing was asked for'}."
    first, best = latencies[0], max(latencies, key=lambda each: each.throughput)
    said = f"Half of the calls with a batch of {first.batch} took at most {milliseconds(first.p50.value)}, 95% at most"
    said += f" {milliseconds(first.p95.value)}"
    if len(latencies) > 1:
        said += f"; most rows a second with a batch of {best.batch}: {numbers.count(round(best.throughput))}"
    return said + "."


def _doubt(simulator: str | None) -> str:
    return "" if simulator is None else f" That is {simulator}; no device is as fast or as slow."


def _beside(note: str, simulator: str | None) -> str:
    return ", ".join(filter(None, (note, f"on {simulator}" if simulator is not None else "")))


def _cells(latency: Latency) -> tuple[Cell, ...]:
    end = scale_end([latency.curve])
    ticks = ((0.0, "0"), (latency.p50.value, "p50"))
    label = (
        f"batch {latency.batch}: p50 {milliseconds(latency.p50.value)}, p95 {milliseconds(latency.p95.value)}, "
        f"p99 {milliseconds(latency.p99.value)}, most {milliseconds(latency.max)}"
    )
    return (
        Cell(numbers.count(latency.batch), sort=str(latency.batch)),
        *(_estimate(latency.percentile(name)) for name in ("p50", "p90", "p95", "p99")),
        Cell(milliseconds(latency.mean), note=f"± {milliseconds(latency.std)}", sort=str(latency.mean)),
        Cell(milliseconds(latency.min), note=milliseconds(latency.max), sort=str(latency.min)),
        Cell(numbers.count(round(latency.throughput)), sort=str(latency.throughput)),
        Cell(numbers.count(latency.runs)),
        Cell(chart=distribution([Line(OWN, latency.curve)], end, ticks, label, height=LOW)),
    )


def _estimate(estimate: Estimate) -> Cell:
    high = milliseconds(estimate.high) if estimate.high is not None else "not known"
    title = f"99% interval: {milliseconds(estimate.low)} to {high}"
    return Cell(milliseconds(estimate.value), title=title, sort=str(estimate.value))


def _against(variant: str, facts: VersusFacts, simulator: str | None) -> Against:
    versus = facts.versus
    curves = [versus.own.curve, versus.other.curve]
    end = scale_end(curves)
    ticks = [(0.0, "0"), *((each.p50.value, "") for each in (versus.own, versus.other)), (end, milliseconds(end))]
    label = f"{variant} p50 {milliseconds(versus.own.p50.value)}, {facts.other} {milliseconds(versus.other.p50.value)}"
    chart = distribution([Line(OTHER, curves[1]), Line(OWN, curves[0])], end, ticks, label)
    legend = (
        (OWN, f"{variant}, p50 {milliseconds(versus.own.p50.value)}"),
        (OTHER, f"{facts.other}, p50 {milliseconds(versus.other.p50.value)}"),
    )
    return Against(versus_sentence(variant, facts.other, versus) + _doubt(simulator), chart, legend)


def _where(target: TargetFacts, measured: BenchmarkedProvider) -> tuple[tuple[str, str], ...]:
    found = measured.facts.surroundings
    before, after = (numbers.NONE if load is None else f"{load:g}" for load in (found.load_before, found.load_after))
    placed = next((each.facts for each in target.placements if each.provider == measured.provider), None)
    devices = placed.devices if placed is not None else ()
    beside = dict.fromkeys(d.title for d in devices if d.kind != "CPU")
    told = [
        ("Measured on", "; ".join([*beside, f"{found.cpu}, {numbers.plural(found.cores, 'core')}"])),
        ("Threads of the session", f"{found.threads}, idle rather than spinning"),
        ("System load before and after", f"{before}, {after}"),
    ]
    return (*told, *([("Frequency governor", found.governor)] if found.governor is not None else []))
