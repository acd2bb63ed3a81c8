"""`onnxbuild inspect`: describe a model file in plain text."""

from __future__ import annotations

import argparse
from pathlib import Path

from onnxbuild import api
from onnxbuild.base.codec import encode
from onnxbuild.console import Console
from onnxbuild.ir.inspect import describe_text

EXAMPLES = """\
examples:
  onnxbuild inspect model.onnx         inputs, outputs, operators, opset, IR, size by initializer
  onnxbuild inspect --format json model.onnx
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how to print it")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Describe the model and return 0."""
    model = Path(arguments.directory, arguments.model)
    facts, _ = api.inspect(model)
    console.print(encode(facts).decode() if arguments.format == "json" else describe_text(facts))
    return 0
