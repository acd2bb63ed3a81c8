"""A part of a model's graph as a layered drawing, top to bottom; knows how nodes look, not where they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from onnxbuild.ir.facts import NodeFacts
from onnxbuild.report.charts.layout import lay_out
from onnxbuild.report.charts.svg import element, route
from onnxbuild.report.names import shorten

EDGE = 6
_LEAST, _MOST = 64, 250
_LONGEST = 30
"""Characters of an operator with its place in the source."""
_OPERATOR = 28
_TITLE, _DETAIL = 7.1, 6.0
"""About how wide a character is in either type."""
SIGNS = {"new": "+", "changed": "±", "moved": "↷"}
"""How a change is marked besides by colour."""


def graph(nodes: Sequence[NodeFacts], tones: Mapping[str, str], label: str, detail: str) -> Markup:
    """Return the drawing in its natural size; `tones` are colours by element type."""
    lines = [_lines(node) for node in nodes]
    sizes = [(_width(node, text), _height(node, text)) for node, text in zip(nodes, lines, strict=True)]
    edges = [(reads, number) for number, node in enumerate(nodes) for reads in node.reads]
    placed = lay_out(sizes, edges, between=22, last=[n for n, node in enumerate(nodes) if node.kind == "output"])
    wide, tall = placed.width + 2 * EDGE, placed.height + 2 * EDGE
    drawn = [
        element("path", d=route([(x + EDGE, y + EDGE) for x, y in points]), class_="edge")
        for points in placed.routes.values()
    ]
    for node, text, size, (x, y) in zip(nodes, lines, sizes, placed.centres, strict=True):
        drawn.append(_box(node, text, size, (x + EDGE, y + EDGE), tones))
    return element(
        "svg", element("title", label), element("desc", detail), *drawn, class_="graph", width=round(wide),
        height=round(tall), viewBox=f"0 0 {wide:.0f} {tall:.0f}", role="img", aria_label=label,
    )  # fmt: skip


def element_type(node: NodeFacts) -> str:
    """Return the element type that a node's colour stands for: of its weights, else of what it delivers."""
    return node.weights[0].split(" ")[0] if node.weights and "×" in node.weights[0] else node.dtype


def _lines(node: NodeFacts) -> tuple[str, str, str]:
    """Return what is written in a box: operator, its place in the source, and the second line."""
    if node.kind != "node":
        return shorten(node.name, 30), "", ""
    detail = ", ".join(node.weights) or node.text
    if node.nested:
        detail = f"holds {node.nested} nodes" if node.nested != 1 else "holds one node"
    scope = node.name.rpartition("/")[0] if node.op in node.name else node.name
    operator = node.op if len(node.op) <= _OPERATOR else node.op.rpartition(".")[2]  # the domain is in the tooltip
    return shorten(operator, _OPERATOR), _tail(scope, _LONGEST - len(operator)), shorten(detail, 36)


def _tail(scope: str, limit: int) -> str:
    """Return the end of a path, which tells more than its beginning; nothing where there is no room for it."""
    if len(scope) <= limit:
        return scope
    return f"…{scope[1 - limit :]}" if limit >= 10 else ""


def _width(node: NodeFacts, text: tuple[str, str, str]) -> float:
    sign = 16 if node.change else 0
    scope = len(text[1]) * _DETAIL + 6 if text[1] else 0
    needed = max(len(text[0]) * _TITLE + scope + sign, len(text[2]) * _DETAIL) + (24 if node.kind == "node" else 22)
    return float(min(max(round(needed), _LEAST), _MOST))


def _height(node: NodeFacts, text: tuple[str, str, str]) -> float:
    return 24.0 if node.kind != "node" or not text[2] else 38.0


def _box(
    node: NodeFacts,
    text: tuple[str, str, str],
    size: tuple[float, float],
    at: tuple[float, float],
    tones: Mapping[str, str],
) -> Markup:
    width, height = size
    x, y = at[0] - width / 2, at[1] - height / 2
    parts = [element("title", describe(node))]
    if node.kind != "node":
        parts.append(element("rect", x=x, y=y, width=width, height=height, rx=height / 2, class_="box pill"))
        middle = element("text", text[0], x=at[0], y=at[1] + 4, text_anchor="middle", class_="box-detail")
        return element("g", *parts, middle)
    look = f"box {node.change} nested" if node.nested else f"box {node.change}"
    parts.append(element("rect", x=x, y=y, width=width, height=height, rx=3, class_=look.strip()))
    tone = tones.get(element_type(node), "")
    if tone:
        parts.append(element("rect", x=x, y=y, width=5, height=height, rx=1.5, class_=f"fill-{tone}"))
    scope = [element("tspan", text[1], dx=6, class_="box-detail")] if text[1] else []
    parts.append(element("text", text[0], *scope, x=x + 13, y=y + 16, class_="box-title"))
    if text[2]:
        parts.append(element("text", text[2], x=x + 13, y=y + 30, class_="box-detail"))
    if node.change:
        sign = element("text", SIGNS[node.change], x=x + width - 9, y=y + 16, text_anchor="middle", class_="box-sign")
        parts.append(sign)
    if node.cut:
        dots = [(x + width + 5, y + height / 2 + offset) for offset in (-5, 0, 5)]
        parts += [element("circle", cx=cx, cy=cy, r=1.3, class_="dots") for cx, cy in dots]
    return element("g", *parts)


def describe(node: NodeFacts) -> str:
    """Return all that is known of a box, for a tooltip."""
    if node.kind != "node":
        return f"{node.kind} {node.name}" + (f", {node.dtype}" if node.dtype else "")
    said = [f"{node.op} {node.name}", node.change, node.text, *node.weights]
    said += [f"delivers {node.dtype}"] if node.dtype else []
    said += [f"its subgraphs hold {node.nested} nodes"] if node.nested else []
    said += [f"{node.cut} edges to nodes that are not shown"] if node.cut else []
    return "; ".join(part for part in said if part)
