"""`onnxbuild repro`: list or copy out the small models on which a pass of a graph tool goes wrong."""

from __future__ import annotations

import argparse
from pathlib import Path

from onnxbuild import api
from onnxbuild.console import Console
from onnxbuild.recipe.project import find_root

EXAMPLES = """\
examples:
  onnxbuild repro digits-cnn                        which passes were left out, and why
  onnxbuild repro digits-cnn/optimize.2 --out DIR   a model, inputs and a script for the tool's authors
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("name", metavar="TARGET|ACTION", nargs="?", help="a target or pattern, or an action's name")
    parser.add_argument("--out", metavar="DIR", help="copy the cases there; it must not exist or be empty")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """List the cases, copy them where asked to, and return 0."""
    out = Path(arguments.directory, arguments.out) if arguments.out is not None else None
    found = api.repro(find_root(Path(arguments.directory)), arguments.name, out)
    if not found.cases:
        console.print("No pass was left out: every one kept what the model computes")
    for case, folder in zip(found.cases, found.folders or [None] * len(found.cases), strict=True):
        reverted = case.reverted
        nodes = "1 node" if reverted.nodes == 1 else f"{reverted.nodes} nodes"
        console.print(f"{case.action}  {reverted.title}  [{reverted.broke.code}]  a model of {nodes}")
        console.print(f"    {reverted.broke.message}")
        if folder is not None:
            console.print(f"    python {folder / 'repro.py'}")
    if found.unbuilt:
        console.print(f"not built from what is there now: {', '.join(found.unbuilt)}")
    return 0
