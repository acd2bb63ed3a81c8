"""What tools warned of, once each, with where and how often."""

from __future__ import annotations

from onnxbuild.proof.gates import describe_doubt
from onnxbuild.report.facts import ReportFacts
from onnxbuild.report.pages.stages import local_name
from onnxbuild.report.pages.table import Cell, Column, Row, Table, cap_rows


def warning_table(facts: ReportFacts) -> Table:
    """Return the warnings by code, each different message once."""
    found: dict[tuple[str, str], list[str]] = {}
    for action in facts.actions:
        for warning in action.warnings:
            found.setdefault((warning.code, warning.message), []).append(local_name(facts, action.name))
    for target in facts.targets:
        for gate in target.gates:
            if gate.warning is not None:
                found.setdefault((gate.warning, describe_doubt(gate)), []).append(f"the gates of {target.variant}")
    rows = [
        Row((
            Cell(code, code=True),
            Cell(name=message, fold=400),
            Cell(name=", ".join(dict.fromkeys(actions)), fold=160),
            Cell(str(len(actions))),
        ))
        for (code, message), actions in sorted(found.items())
    ]  # fmt: skip
    kept, shown = cap_rows(rows)
    columns = (Column("Kind", "code"), Column("Warning"), Column("From"), Column("Times", "num"))
    return Table("Warnings", columns, kept, shown, empty="No stage warned of anything.", hide_caption=True)
