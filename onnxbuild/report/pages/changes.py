"""What changed since the accepted build: a group of rows a target, and what was waived; compares nothing."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from onnxbuild.proof.gates import Verdict
from onnxbuild.recipe.changes import RECIPE, TargetChanges
from onnxbuild.report import numbers, summary
from onnxbuild.report.change_text import ChangeLine, change_lines, is_recipe_alone
from onnxbuild.report.facts import ReportFacts, TargetFacts
from onnxbuild.report.pages.table import CAP, Cell, Column, Row, Table


@dataclass(frozen=True)
class Changes:
    """The section's sentence, the command that accepts what is there ("": nothing is to accept), its table of
    differences (None: nothing differs), and that of waivers."""

    sentence: str
    accept: str
    table: Table | None
    waivers: Table | None


def changes(facts: ReportFacts) -> Changes:
    """Return what changed since the lock of the recipe was written."""
    targets = facts.targets
    grouped = [(target.variant, "#" + summary.anchor(target), target.changes) for target in targets if target.changes]
    differing = [
        (name, href, found) for name, href, found in grouped if found.kind == "changed" and not is_recipe_alone(found)
    ]
    waived = {t.variant: t.accepted.waivers for t in targets if t.accepted is not None and t.accepted.waivers}
    table = change_table(differing, len(targets) > 1, leave_out=(RECIPE,))
    open_ = [target for target in targets if _is_to_accept(target)]
    names = [facts.name] if len(open_) == len(targets) else [target.name for target in open_]
    accept = f"onnxbuild accept {' '.join(names)}" if open_ else ""
    return Changes(_sentence(targets), accept, table, waiver_table(waived))


def _is_to_accept(target: TargetFacts) -> bool:
    """Tell whether a target did not fail and is not as it was accepted."""
    if target.verdict in (None, Verdict.FAILED) or target.failed_action is not None:
        return False
    return target.accepted is None or (target.changes is not None and target.changes.kind != "same")


def change_table(
    groups: Iterable[tuple[str, str, TargetChanges]],
    is_grouped: bool,
    sides: tuple[str, str] = ("Accepted", "Now"),
    leave_out: Container[str] = (),
) -> Table | None:
    """Return the differences of targets (variant, link, differences), each after a heading of its own.

    `sides` are the headings of both values; what `leave_out` names is told elsewhere.
    """
    rows: list[Row] = []
    total = left = 0
    for variant, href, found in groups:
        lines = [line for line in change_lines(found) if line.what not in leave_out]
        total += len(lines)
        if is_grouped:
            rows.append(Row((Cell(name=variant, href=href),), group=True))
        shown = lines[: max(CAP // 2, 4)]
        left += len(lines) - len(shown)
        rows += map(_row, shown)
    if not rows:
        return None
    said = f"showing {total - left} of {total:,}" if left else ""
    columns = (Column("What"), *(Column(side, "code") for side in sides), Column("Change", "num"))
    return Table("What differs", columns, tuple(rows), said, hide_caption=True)


def waiver_table(waivers: Mapping[str, Mapping[str, str]]) -> Table | None:
    """Return the failed gates that were accepted all the same, by variant, with their reasons; None without any."""
    rows = [
        Row((Cell(name=variant), Cell(name=gate), Cell(name=reason, fold=400)))
        for variant, each in waivers.items()
        for gate, reason in each.items()
    ]
    columns = (Column("Variant"), Column("Gate waived"), Column("Reason", "remark"))
    return Table("Accepted although a gate failed", columns, tuple(rows)) if rows else None


def _row(line: ChangeLine) -> Row:
    return Row((
        Cell(name=line.what, note=line.part),
        Cell(name=line.old, code=True, title=line.exact_old),
        Cell(name=line.new, code=True, title=line.exact_new),
        Cell(line.change or numbers.NONE, note=line.noise),
    ))  # fmt: skip


def _sentence(targets: Sequence[TargetFacts]) -> str:
    by_word: dict[str, list[str]] = {}
    for target in targets:
        if target.accepted is None:
            word = summary.NEVER
        elif target.changes is None:
            word = "accepted, and not built now"
        else:
            same = target.changes.kind == "same" or is_recipe_alone(target.changes)
            word = "as accepted" if same else "differing from what was accepted"
        by_word.setdefault(word, []).append(target.variant)
    if len(by_word) == 1 and (word := next(iter(by_word))) == summary.NEVER:
        return "Never accepted: no lock beside the recipe has an entry for it."
    return "; ".join(f"{', '.join(names)}: {word}" for word, names in by_word.items()) + "."
