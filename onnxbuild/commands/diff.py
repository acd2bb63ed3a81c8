"""`onnxbuild diff`: in what two model files, two locks, or the locks of two revisions differ."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from onnxbuild import api
from onnxbuild.base.codec import encode
from onnxbuild.base.diagnostics import Diagnostic, UserError
from onnxbuild.base.render import printable
from onnxbuild.base.units import format_size
from onnxbuild.commands.lock_lines import lock_lines
from onnxbuild.console import Console
from onnxbuild.ir.facts import ComparisonFacts, Field, NodeDifference, TensorDifference
from onnxbuild.recipe.changes import LockChanges
from onnxbuild.recipe.lock import ENDING
from onnxbuild.recipe.project import find_root

EXAMPLES = """\
examples:
  onnxbuild diff old.onnx new.onnx                       nodes, tensors, inputs and outputs, opset, metadata
  onnxbuild diff main..                                  what was accepted on main, and what is here: the locks
  onnxbuild diff v1..v2                                  the locks at two revisions
  onnxbuild diff old.lock.json recipes/mlp.lock.json
  onnxbuild diff old.onnx new.onnx --format html > d.html
  onnxbuild diff main.. --format json                    for scripts
"""

_SHOWN = 40
"""Lines of a list in text; JSON and HTML have more."""
_KINDS = {"added": "+", "removed": "-", "retyped": "~", "changed": "~", "moved": ">"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("old", metavar="OLD", help="an .onnx file, a lock, or revisions: REV.. or REV..REV")
    parser.add_argument("new", metavar="NEW", nargs="?", help="a second file")
    parser.add_argument("--format", choices=("text", "json", "html"), default="text", help="how to print it")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Compare and return 0, whether they differ or not."""
    found = _compare(arguments)
    match arguments.format:
        case "json":
            console.print(encode(found).decode())
        case "html":
            # brings jinja2, which the other forms do without
            from onnxbuild.report.render import render_comparison, render_locks

            if isinstance(found, LockChanges):
                console.print(render_locks(found))
            else:
                console.print(render_comparison(found, arguments.old, arguments.new))
        case _:
            for line in lock_lines(found) if isinstance(found, LockChanges) else _lines(found):
                console.print(printable(line))
    return 0


def _compare(arguments: argparse.Namespace) -> ComparisonFacts | LockChanges:
    """Compare two model files, two locks, or the locks at the ends of a range of revisions."""
    folder = Path(arguments.directory)
    words = [arguments.old, *([arguments.new] if arguments.new is not None else [])]
    is_range = ".." in arguments.old and not (folder / arguments.old).exists()
    if len(words) == 1 and is_range:
        return api.diff_revisions(find_root(folder), arguments.old)
    if len(words) < 2:
        message = "diff compares two files, or revisions"
        hint = f"name a second one, or write {arguments.old}.. for what was accepted at a revision"
        raise UserError(Diagnostic(code="two-models", message=message, hint=hint))
    locks = [word.endswith(ENDING) for word in words]
    old, new = (folder / word for word in words)
    if any(locks) and not all(locks):
        message = "a lock and a model cannot be compared"
        raise UserError(Diagnostic(code="two-models", message=message, hint="give two locks, or two .onnx files"))
    return api.diff_locks(old, new) if all(locks) else api.diff(old, new)


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
