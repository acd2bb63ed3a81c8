"""`onnxbuild store`: look after the store: verify every byte of it, or count what is in it."""

from __future__ import annotations

import argparse
from pathlib import Path

from onnxbuild import api
from onnxbuild.base.codec import encode
from onnxbuild.base.units import format_duration, format_size
from onnxbuild.console import Console
from onnxbuild.recipe.project import find_root
from onnxbuild.stamp import cores
from onnxbuild.store import verify

EXAMPLES = """\
examples:
  onnxbuild store verify               read everything; what is altered is set aside and made again when needed
  onnxbuild store stats                what takes how much
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("action", choices=("verify", "stats"), help="what to do")
    parser.add_argument("-j", "--jobs", type=int, metavar="N", help="files at once (default: the number of cores)")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how to print it")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Look and return 0, or 1 when something was altered."""
    store = api.open_store(find_root(Path(arguments.directory)))
    if arguments.action == "stats":
        counted = verify.stats(store)
        console.print(encode(counted).decode() if arguments.format == "json" else _stats(counted))
        return 0
    jobs = arguments.jobs if arguments.jobs is not None and arguments.jobs > 0 else cores()
    found = verify.verify(store, jobs)
    console.print(encode(found).decode() if arguments.format == "json" else _verified(found))
    return 1 if found.altered or found.damaged else 0


def _stats(found: verify.Stats) -> str:
    loose = format_size(found.needed_by_none)
    lines = [
        f"{found.blobs} blobs, {format_size(found.bytes)}; {loose} of it needed by no record",
        f"{found.records} records, {format_size(found.record_bytes)}",
    ]
    if found.set_aside:
        lines.append(f"{found.set_aside} altered blobs set aside")
    if found.building:
        lines.append("a make is running")
    for share in found.stages:
        took = f"took {format_duration(share.seconds)}"
        lines.append(f"  {share.stage:14} {share.records:6} records {format_size(share.bytes):>9}, {took}")
    return "\n".join(lines)


def _verified(found: verify.Verified) -> str:
    lines = [f"altered  blob {name}: set aside; make builds it again when it is needed" for name in found.altered]
    lines += [f"damaged  {name}: no record any more" for name in found.damaged]
    if found.incomplete:
        lines.append(f"{found.incomplete} records whose blobs are not all there: made again when they are needed")
    sound = f"{found.blobs} blobs ({format_size(found.bytes)}) and {found.records} records"
    wrong = len(found.altered) + len(found.damaged)
    lines.append(f"{sound}: " + ("all sound" if not wrong else f"{wrong} not sound"))
    return "\n".join(lines)
