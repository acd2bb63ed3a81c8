"""`onnxbuild diff`: in what two model files differ."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from onnxbuild import api
from onnxbuild.base.codec import encode
from onnxbuild.base.diagnostics import Diagnostic, UserError
from onnxbuild.base.render import printable
from onnxbuild.base.units import format_size
from onnxbuild.console import Console
from onnxbuild.ir.facts import ComparisonFacts, Field, NodeDifference, TensorDifference

EXAMPLES = """\
examples:
  onnxbuild diff old.onnx new.onnx                       nodes, tensors, inputs and outputs, opset, metadata
  onnxbuild diff old.onnx new.onnx --format html > d.html
  onnxbuild diff old.onnx new.onnx --format json         for scripts
"""

_SHOWN = 40
"""Lines of a list in text; JSON and HTML have more."""
_KINDS = {"added": "+", "removed": "-", "retyped": "~", "changed": "~", "moved": ">"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("old", metavar="OLD", help="an .onnx file")
    parser.add_argument("new", metavar="NEW", nargs="?", help="an .onnx file")
    parser.add_argument("--format", choices=("text", "json", "html"), default="text", help="how to print it")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Compare and return 0, whether they differ or not."""
    old, new = _files(arguments)
    found = api.diff(old, new)
    match arguments.format:
        case "json":
            console.print(encode(found).decode())
        case "html":
            from onnxbuild.report.render import render_comparison  # brings jinja2, which the other forms do without

            console.print(render_comparison(found, arguments.old, arguments.new))
        case _:
            for line in _lines(found):
                console.print(printable(line))
    return 0


def _files(arguments: argparse.Namespace) -> tuple[Path, Path]:
    """Return the two model files; locks and revisions are understood, and refused."""
    words = [arguments.old, *([arguments.new] if arguments.new is not None else [])]
    for word in words:
        is_revision = ".." in word and not Path(arguments.directory, word).exists()
        if word.endswith(".lock.json") or is_revision:
            what = "a range of revisions" if is_revision else "a lock"
            message = f"'{word}' is {what}; comparing those is not in this version"
            hint = "give two .onnx files; onnxbuild get TARGET --out DIR fetches a target's"
            raise UserError(Diagnostic(code="not-in-this-version", message=message, hint=hint))
    if len(words) < 2:
        message = "diff compares two model files"
        raise UserError(Diagnostic(code="two-models", message=message, hint="name a second one"))
    return Path(arguments.directory, words[0]), Path(arguments.directory, words[1])


def _lines(found: ComparisonFacts) -> Iterator[str]:
    if found.is_same:
        yield "The models do not differ."
        return
    for title, fields in (("model", found.fields), ("interface", found.interface)):
        yield from _section(title, [_field(field) for field in fields], len(fields))
    if found.operators:
        counts = [f"{name} {old} → {new}" for name, (old, new) in found.operators.items()]
        yield from _section("operators", counts, len(counts))
    yield from _section(
        f"nodes {found.nodes_before} → {found.nodes_after}, {_counts(found.node_counts)}",
        [_node(node) for node in found.nodes],
        sum(found.node_counts.values()),
    )
    yield from _section(
        f"tensors {found.tensors_before} → {found.tensors_after}, {_counts(found.tensor_counts)}",
        [_tensor(tensor) for tensor in found.tensors],
        sum(found.tensor_counts.values()),
    )


def _section(title: str, lines: Iterable[str], whole: int) -> Iterator[str]:
    shown = list(lines)[:_SHOWN]
    if shown:
        yield title
        yield from (f"  {line}" for line in shown)
        if len(shown) < whole:
            yield f"  showing {len(shown)} of {whole}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in counts.items()) or "none differ"


def _field(field: Field) -> str:
    old, new = ("absent" if value is None else value for value in (field.old, field.new))
    return f"{field.name}: {old} → {new}"


def _node(node: NodeDifference) -> str:
    operator = f"{node.old_op} → {node.op}" if node.old_op is not None else node.op
    details = f"  {'; '.join(node.details)}" if node.details else ""
    return f"{_KINDS[node.kind]} {node.kind:8} {operator:20} {node.name}{details}"


def _tensor(tensor: TensorDifference) -> str:
    if tensor.old is None or tensor.new is None:
        sign, kind = ("+", "added") if tensor.old is None else ("-", "removed")
        return f"{sign} {kind:8} {tensor.name}  {tensor.new or tensor.old}"
    form = tensor.new if tensor.old == tensor.new else f"{tensor.old} → {tensor.new}"
    said = [f"{tensor.elements:,} elements differ"] if tensor.elements is not None else []
    said += [f"largest {tensor.largest:.3g}"] if tensor.largest is not None else []
    said += [f"norm of change {tensor.relative:.3g} of the old"] if tensor.relative is not None else []
    if tensor.old_bytes != tensor.new_bytes:
        said.append(f"{format_size(tensor.old_bytes)} → {format_size(tensor.new_bytes)}")
    return f"~ changed  {tensor.name}  {form}" + (f"  {', '.join(said)}" if said else "")
