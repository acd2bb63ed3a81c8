"""Where it comes from: source, files, data, seeds, versions, hardware, the user's own metadata."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from onnxbuild.report import numbers
from onnxbuild.report.charts.histogram import classes
from onnxbuild.report.facts import DataSetFacts, ReportFacts
from onnxbuild.report.pages.table import Cell, Column, Row, Table, cap_rows, short_digest


@dataclass(frozen=True)
class Labels:
    """How many samples a class has."""

    title: str
    chart: Markup


@dataclass(frozen=True)
class Provenance:
    """The section: the source's state in words, tables, and a chart of labels a data set."""

    source: str
    commit: str
    files: Table
    data: Table
    labels: tuple[Labels, ...]
    versions: Table
    settings: Table


def provenance(facts: ReportFacts) -> Provenance:
    """Return where all of the recipe's targets come from."""
    found = facts.provenance
    if found.commit is None:
        source = "The project is not in a git repository; the digests below are all that identifies it."
    else:
        source = "Built with uncommitted changes on commit" if found.dirty else "Built from commit"
    return Provenance(
        source, found.commit or "", _files(facts), _data(facts), _labels(found.data), _versions(facts), _settings(facts)
    )


def _files(facts: ReportFacts) -> Table:
    rows = [
        Row((
            Cell(name=file.path),
            Cell(file.label),
            Cell(numbers.size(file.bytes)),
            Cell(short_digest(file.sha256), title=file.sha256, code=True),
        ))
        for file in facts.provenance.files
    ]  # fmt: skip
    kept, shown = cap_rows(rows)
    columns = (Column("File"), Column("For"), Column("Size", "num"), Column("SHA-256", "code"))
    return Table("Files that went in", columns, kept, shown, empty="No file was recorded.")


def _data(facts: ReportFacts) -> Table:
    rows = [
        Row((
            Cell(data.role),
            Cell(name=data.source, note=_doubt(data, facts.provenance.data)),
            Cell(numbers.count(data.facts.samples)),
            Cell(numbers.count(data.facts.calls)),
            Cell(numbers.count(len(data.facts.label_counts)) if data.facts.label_counts else numbers.NONE),
        ))
        for data in facts.provenance.data
    ]  # fmt: skip
    kept, shown = cap_rows(rows)
    columns = (
        Column("Data"),
        Column("From"),
        Column("Samples", "num"),
        Column("Calls", "num"),
        Column("Classes", "num"),
    )
    return Table("Data", columns, kept, shown, empty="No data was read: outputs were compared on generated arrays.")


def _doubt(data: DataSetFacts, every: tuple[DataSetFacts, ...]) -> str:
    """Say of calibration data from the file of the evaluation that the model is judged on what it was fitted to."""
    files = {other.source for other in every if other.role == "evaluation" and ":" not in other.source}
    is_shared = data.role == "calibration" and data.source in files and not data.source.startswith("random, ")
    return "the file of the evaluation: judged on what it was calibrated with" if is_shared else ""


def _labels(data: tuple[DataSetFacts, ...]) -> tuple[Labels, ...]:
    drawn = []
    for item in data:
        counts = sorted(item.facts.label_counts.items(), key=lambda pair: (len(pair[0]), pair[0]))
        if not counts:
            continue
        lowest, highest = min(counts, key=lambda p: p[1]), max(counts, key=lambda p: p[1])
        label = (
            f"Labels of the {item.role} data: {len(counts)} classes, from {lowest[1]:,} ({lowest[0][:40]})"
            f" to {highest[1]:,} ({highest[0][:40]}) samples"
        )
        drawn.append(Labels(label, classes(counts, label)))
    return tuple(drawn)


def _versions(facts: ReportFacts) -> Table:
    versions = {**({"onnxbuild": facts.version} if facts.version else {}), **facts.provenance.versions}
    rows = [Row((Cell(name=name), Cell(version, code=True))) for name, version in versions.items()]
    kept, shown = cap_rows(rows)
    return Table("Versions", (Column("Tool"), Column("Version", "code")), kept, shown, empty="No version was recorded.")


def _settings(facts: ReportFacts) -> Table:
    found = facts.provenance
    rows = [Row((Cell(name=key), Cell(name=value))) for key, value in found.hardware.items()]
    rows += [Row((Cell(f"seed: {key}"), Cell(str(value)))) for key, value in found.seeds.items()]
    metadata: dict[tuple[str, str], list[str]] = {}
    for target in facts.targets:
        for pair in target.declared.metadata.items():
            metadata.setdefault(pair, []).append(target.variant)
    for (key, value), variants in metadata.items():
        where = "" if len(variants) == len(facts.targets) else "only " + ", ".join(variants)
        rows.append(Row((Cell(name=key, note=where), Cell(name=value))))
    if not any(key.lower() in ("licence", "license") for key, _ in metadata):
        rows.append(Row((Cell("licence"), Cell("not declared", note="package: {metadata: {licence: …}}"))))
    kept, shown = cap_rows(rows)
    return Table("Machine, seeds and metadata", (Column("What"), Column("Value")), kept, shown,
                 empty="Nothing was recorded.")  # fmt: skip
