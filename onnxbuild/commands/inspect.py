"""`onnxbuild inspect`: describe a model file."""

from __future__ import annotations

import argparse
from pathlib import Path

from onnxbuild import api
from onnxbuild.base.codec import encode
from onnxbuild.base.render import printable
from onnxbuild.console import Console
from onnxbuild.ir.inspect import describe_text

EXAMPLES = """\
examples:
  onnxbuild inspect model.onnx         inputs, outputs, operators, opset, IR, size by initializer
  onnxbuild inspect --format json model.onnx
  onnxbuild inspect --format html model.onnx > model.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("--format", choices=("text", "json", "html"), default="text", help="how to print it")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Describe the model and return 0."""
    model = Path(arguments.directory, arguments.model)
    facts, _ = api.inspect(model)
    match arguments.format:
        case "json":
            console.print(encode(facts).decode())
        case "html":
            from onnxbuild.report.render import render_model  # brings jinja2, which the other forms do without

            console.print(render_model(facts, arguments.model))
        case _:
            for line in describe_text(facts).splitlines():
                console.print(printable(line))
    return 0
