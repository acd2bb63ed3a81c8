"""`onnxbuild blame`: the layers of a target by what keeping each in float would gain."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from onnxbuild import api
from onnxbuild.base.codec import encode
from onnxbuild.console import Console
from onnxbuild.engine.options import Options
from onnxbuild.recipe.project import find_root
from onnxbuild.stages.blame import BlameFacts
from onnxbuild.stamp import cores
from onnxbuild.targets.blame import growth, name_of, share, source_of

EXAMPLES = """\
examples:
  onnxbuild blame digits-cnn:int8                which layers cost most accuracy
  onnxbuild blame digits-cnn:int8 --format json  for scripts
"""

SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="<recipe> or <recipe>:<variant>, * and ? match")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how to print it")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the rankings; 1 when one could not be made."""
    workplace = api.open_project(find_root(Path(arguments.directory)), arguments.targets)
    out = console.out
    if arguments.format == "json":
        console.out = sys.stderr  # standard output holds the JSON alone
    console.diagnose(workplace.warnings)
    jobs = workplace.project.jobs or cores()
    with console.live():
        found = api.blame(workplace, Options(jobs=jobs, limits=workplace.project.limits), console.hear)
    console.out = out
    lossy = {t.name for r in workplace.recipes for t in r.targets if t.pruning or t.quantization or t.auto}
    if arguments.format == "json":
        console.print(encode(found).decode())
    else:
        for target, facts in found.items():
            for line in _lines(target, facts, lossy=target in lossy):
                console.print(line)
    return 1 if any(facts is None and target in lossy for target, facts in found.items()) else 0


def _lines(target: str, facts: BlameFacts | None, *, lossy: bool) -> list[str]:
    if facts is None:
        why = (
            "the ranking could not be made"
            if lossy
            else "neither pruned nor quantised by settings of its own: there is nothing to restore"
        )
        return [f"{target}: {why}"]
    if not facts.layers:
        return [f"{target}: no layer of the delivered model is pruned or quantised: there is nothing to restore"]
    head = (
        f"{target}: uses {share(facts.base.use)} the tolerance ({facts.base.gate}); "
        f"{facts.layers} layers, {facts.measured} restorings measured on {facts.samples} samples"
    )
    rows = [("layer kept in float", "uses", "SQNR dB", "costs", "source")]
    rows += [
        (name_of(c), share(c.score.use), _decibels(c.score.sqnr_db), growth(c), source_of(c))
        for c in facts.culprits[:SHOWN]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    more = len(facts.culprits) - SHOWN
    return [head, *lines, *([f"  and {more} more, which gain less"] if more > 0 else [])]


def _decibels(value: float | str) -> str:
    return f"{value:.1f}" if isinstance(value, float | int) else value
