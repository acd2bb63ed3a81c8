"""The graph as drawings: a small one whole, against the exported one; of a large one what each step changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from markupsafe import Markup

from onnxbuild.ir.facts import ModelFacts, NodeFacts, PartFacts, PictureFacts
from onnxbuild.report import numbers
from onnxbuild.report.charts.graph import SIGNS, element_type, graph
from onnxbuild.report.facts import StepFacts
from onnxbuild.report.pages.table import Cell, Column, Row, Table, cap_rows

CHANGES = {"new": "new", "changed": "changed", "moved": "reads something else"}


@dataclass(frozen=True)
class Drawing:
    """One connected drawing with the table of what is in it."""

    caption: str
    picture: Markup
    table: Table


@dataclass(frozen=True)
class Picture:
    """Drawings of one graph; `tones` and `signs` are the key to their colours and marks."""

    title: str
    sentence: str
    drawings: tuple[Drawing, ...]
    tones: tuple[tuple[str, str], ...]
    signs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Elsewhere:
    """What another variant shows, because the two share the step: its name and a link to it."""

    step: str
    variant: str
    href: str


def pictures(
    steps: Sequence[StepFacts], tones: Mapping[str, str], shown: Mapping[str, tuple[str, str]]
) -> tuple[tuple[Picture, ...], tuple[Elsewhere, ...]]:
    """Return what to show of a target's graph, and what others show; nothing where no step left a description of one.

    `shown` are actions whose changes another variant shows.
    """
    models = [(step, step.model.picture) for step in steps if step.model is not None and step.model.picture is not None]
    if not models:
        return (), ()
    first, last = models[0][1], models[-1][1]
    if last.whole:
        compared = _against(first, last) if first.whole and len(models) > 1 else _unmarked(last)
        return (_picture("The graph in the end", compared, tones),), ()
    changed = [(step, found) for step, found in reversed(models) if not found.whole and found.changed]
    drawn = [(step, found) for step, found in changed if step.action not in shown]
    elsewhere = tuple(Elsewhere(step.label, *shown[step.action]) for step, _ in changed if step.action in shown)
    if not changed:
        return (_picture("The graph", _unmarked(first), tones),), ()
    return tuple(_picture(f"What {step.label} changed in the graph", found, tones) for step, found in drawn), elsewhere


def picture_of(model: ModelFacts, tones: Mapping[str, str]) -> Picture | None:
    """Return what to show of one model that is compared with nothing."""
    return None if model.picture is None else _picture("The graph", _unmarked(model.picture), tones)


def picture_of_change(facts: PictureFacts) -> Picture | None:
    """Return what is not as in the model before, in the colours of the element types that are there."""
    types = Counter(element_type(node) for part in facts.parts for node in part.nodes if node.kind == "node")
    tones = dict(zip((dtype for dtype, _ in types.most_common() if dtype), "abcde", strict=False))
    return _picture("The newer graph", facts, tones) if facts.parts else None


def _picture(title: str, facts: PictureFacts, tones: Mapping[str, str]) -> Picture:
    every = [node for part in facts.parts for node in part.nodes]
    types = {element_type(node) for node in every if node.kind == "node"}
    changes = {node.change for node in every}
    return Picture(
        title=title,
        sentence=_sentence(facts),
        drawings=tuple(_drawing(title, part, facts, tones) for part in facts.parts),
        tones=tuple((tone, dtype) for dtype, tone in tones.items() if dtype in types),
        signs=tuple((sign, CHANGES[kind]) for kind, sign in SIGNS.items() if kind in changes),
    )


def _sentence(facts: PictureFacts) -> str:
    if facts.whole:
        said = [numbers.plural(facts.nodes, "node")]
        if facts.folded:
            said.append(f"{numbers.plural(facts.folded, 'constant')} drawn as part of what reads them")
    else:
        once = ", parts that look the same once" if any(part.times > 1 for part in facts.parts) else ""
        first = "the first " if facts.changed is None else ""
        said = [f"Showing {first}{facts.shown:,} of {numbers.plural(facts.nodes, 'node')}{once}"]
    if facts.changed is not None:
        what = numbers.plural(facts.changed, "node is", "nodes are") if facts.changed else "nothing is"
        gone = f", {numbers.plural(facts.removed, 'is', 'are')} gone" if facts.removed else ""
        said.append(f"{what} new or changed{gone}")
    if any(node.cut for part in facts.parts for node in part.nodes):
        said.append("dots beside a node are edges to nodes that are not shown")
    return "; ".join(said) + "."


def _drawing(title: str, part: PartFacts, facts: PictureFacts, tones: Mapping[str, str]) -> Drawing:
    count = sum(node.kind == "node" for node in part.nodes)
    label = f"{title}: {numbers.plural(count, 'node')}, from top to bottom"
    rows, left_out = cap_rows([_row(node, part.nodes) for node in part.nodes], cap=120)
    columns = (
        Column("Node"), Column("Operator"), Column("Reads"), Column("Holds", "limit"), Column("Type"), Column("Change")
    )  # fmt: skip
    table = Table(f"{title}, as a table", columns, rows, left_out, hide_caption=True)
    times = (
        f"{numbers.count(part.times)} parts look like this; the names are those of the first" if part.times > 1 else ""
    )
    return Drawing(times, graph(part.nodes, tones, label, _sentence(facts)), table)


def _row(node: NodeFacts, nodes: Sequence[NodeFacts]) -> Row:
    holds = [*node.weights, *([node.text] if node.text else [])]
    holds += [numbers.plural(node.nested, "node")] if node.nested else []
    return Row((
        Cell(name=node.name or numbers.NONE),
        Cell(name=node.op or node.kind),
        Cell(name=", ".join(nodes[number].name for number in node.reads) or numbers.NONE),
        Cell(name="; ".join(holds) or numbers.NONE),
        Cell(node.dtype or numbers.NONE),
        Cell(CHANGES.get(node.change, "")),
    ))  # fmt: skip


def _unmarked(facts: PictureFacts) -> PictureFacts:
    parts = tuple(
        msgspec.structs.replace(part, nodes=tuple(msgspec.structs.replace(node, change="") for node in part.nodes))
        for part in facts.parts
    )
    return msgspec.structs.replace(facts, parts=parts, changed=None, removed=None)


def _against(first: PictureFacts, last: PictureFacts) -> PictureFacts:
    """Mark in a whole graph what is not as in an earlier whole one, by the names of nodes."""
    before = [node for part in first.parts for node in part.nodes]
    known = {node.name: (node, [before[r].name for r in node.reads]) for node in before if node.kind == "node"}
    parts, changed = [], 0
    for part in last.parts:
        marked: list[NodeFacts] = []
        for node in part.nodes:
            change = _change(node, known.get(node.name), marked) if node.kind == "node" else ""
            marked.append(msgspec.structs.replace(node, change=change))
            changed += bool(change)
        parts.append(msgspec.structs.replace(part, nodes=tuple(marked)))
    left = {node.name for part in parts for node in part.nodes if node.kind == "node"}
    return msgspec.structs.replace(last, parts=tuple(parts), changed=changed, removed=len(known.keys() - left))


def _change(node: NodeFacts, known: tuple[NodeFacts, list[str]] | None, drawn: Sequence[NodeFacts]) -> str:
    if known is None:
        return "new"
    before, reads = known
    if (before.op, before.text, before.weights, before.nested) != (node.op, node.text, node.weights, node.nested):
        return "changed"
    if reads != [drawn[r].name for r in node.reads] and not any(drawn[r].change == "new" for r in node.reads):
        return "moved"
    return ""
