"""`onnxbuild schema`: print the JSON schema of recipes."""

from __future__ import annotations

import argparse

from onnxbuild.console import Console
from onnxbuild.recipe.raw import RawProject, RawRecipe
from onnxbuild.recipe.schema import schema_text

EXAMPLES = """\
examples:
  onnxbuild schema > recipe.schema.json      for an editor that completes and checks recipes
  onnxbuild schema --project                 the schema of onnxbuild.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--project", action="store_true", help="the schema of onnxbuild.yaml instead")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the schema and return 0."""
    console.print(schema_text(RawProject if arguments.project else RawRecipe).rstrip())
    return 0
