"""How passes were guarded: at which sizes, within which limits, and what was left out as it broke the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from onnxbuild.proof.limits import step_limit
from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.report import numbers
from onnxbuild.report.facts import ReportFacts, StepFacts, TargetFacts
from onnxbuild.report.pages.stages import local_name
from onnxbuild.report.pages.table import Cell, Column, Row, Table, cap_rows
from onnxbuild.stages.optimize import OptimizeFacts
from onnxbuild.stages.reverts import Breakage, Sizes

MOST_SIZES = 8
"""Sizes named before it says how many more there are."""


@dataclass(frozen=True)
class Guards:
    """The passes as they were compared with their inputs, and those left out; None where none was."""

    passes: Table
    left_out: Table | None


def guards(facts: ReportFacts) -> Guards | None:
    """Return how each entry of `passes` was guarded; None for a recipe without any."""
    steps = list(_steps(facts))
    if not steps:
        return None
    columns = (
        Column("Action"),
        Column("Pass", "limit"),
        Column("Compared at", "limit"),
        Column("Allowed", "limit"),
        Column("Moved by", "num"),
        Column("Left out", "limit"),
    )
    kept, shown = cap_rows([Row(_pass_cells(facts, step, found)) for step, found in steps])
    return Guards(Table("Passes compared with their input", columns, kept, shown), _left_out(facts, steps))


def left_out_of(target: TargetFacts) -> str:
    """Return what a target is built without, in one sentence; empty when every pass kept what the model computes."""
    titles = [one.title for step in target.steps if step.optimize is not None for one in step.optimize.reverted]
    if not titles:
        return ""
    more = f" and {len(titles) - 1} more" if len(titles) > 1 else ""
    return f"Built without {titles[0]}{more}, which broke the model"


def _steps(facts: ReportFacts) -> Iterator[tuple[StepFacts, OptimizeFacts]]:
    seen: set[str] = set()
    for target in facts.targets:
        for step in target.steps:
            if step.optimize is not None and step.action not in seen:
                seen.add(step.action)
                yield step, step.optimize


def _pass_cells(facts: ReportFacts, step: StepFacts, found: OptimizeFacts) -> tuple[Cell, ...]:
    skipped = f"not at {_sizes(found.tested.skipped)}: unverified" if found.tested.skipped else ""
    same = "" if found.changed else "changed nothing"
    left_out = ", ".join("all of it" if one.name == one.tool else one.name for one in found.reverted)
    return (
        Cell(name=local_name(facts, step.action), title=step.action),
        Cell(name=step.title),
        Cell(_sizes(found.tested.sizes) if found.tested.sizes else same or "the probe data", note=skipped),
        Cell("; ".join(_limits(step, found)) if found.changed else numbers.NONE),
        Cell(_moved(found.probe) if found.changed else numbers.NONE),
        Cell(name=left_out, tone="bad" if left_out else "") if left_out else Cell("nothing"),
    )


def _limits(step: StepFacts, found: OptimizeFacts) -> Iterator[str]:
    """Yield what each output may differ by, those of equal limits together."""
    by_limit: dict[str, list[str]] = {}
    for measures in found.probe:
        limit = step_limit(step.limits.get(measures.name), measures.dtype, found.tested.precision)
        said = "nothing"
        if limit is not None:
            said = f"{numbers.number(limit.atol or 0.0)} + {numbers.number(limit.rtol or 0.0)} |r|"
        by_limit.setdefault(said, []).append(measures.name)
    for said, names in by_limit.items():
        yield f"{', '.join(names)}: {said}" if len(by_limit) > 1 else said


def _moved(measures: Iterable[OutputMeasures]) -> str:
    each = list(measures)
    far = [m.max_abs for m in each if m.max_abs is not None]
    odd = next((value for value in far if isinstance(value, str)), None)
    return numbers.number(odd if odd is not None else max((v for v in far if isinstance(v, float | int)), default=0.0))


def _left_out(facts: ReportFacts, steps: list[tuple[StepFacts, OptimizeFacts]]) -> Table | None:
    columns = (
        Column("Left out"),
        Column("Of", "limit"),
        Column("How it broke the model", "told"),
        Column("Off by", "num"),
        Column("Smallest model", "num"),
        Column("What shows it", "code"),
    )
    rows = [
        Row((
            Cell(name="all of it" if one.name == one.tool else one.name),
            Cell(name=one.tool, note=local_name(facts, step.action)),
            Cell(name=one.broke.message, fold=400),
            Cell(_off(one.broke), tone="bad"),
            Cell(numbers.plural(one.nodes, "node")),
            Cell(f"onnxbuild repro {step.action} --out DIR", code=True),
        ))
        for step, found in steps
        for one in found.reverted
    ]  # fmt: skip
    kept, shown = cap_rows(rows)
    return Table("Left out because they broke the model", columns, kept, shown) if rows else None


def _off(broke: Breakage) -> str:
    return _moved(broke.measures) if broke.measures else numbers.NONE


def _sizes(sizes: Iterable[Sizes]) -> str:
    """Return sizes by axis where there is one, such as "batch 1, 16, 64", else each combination."""
    each = list(sizes)
    more = f" and {len(each) - MOST_SIZES} more" if len(each) > MOST_SIZES else ""
    axes = {axis for size in each for axis in size}
    shown = each[:MOST_SIZES]
    if len(axes) == 1:
        (axis,) = axes
        return f"{axis} {', '.join(str(size[axis]) for size in shown if axis in size)}{more}"
    said = [" × ".join(f"{axis} {value}" for axis, value in size.items()) or "fixed sizes" for size in shown]
    return "; ".join(said) + more
