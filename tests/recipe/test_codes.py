"""Every code that reading recipes can give is explained, and none that it cannot give."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from onnxbuild.recipe.codes import CODES

PACKAGE = Path(__file__).parents[2] / "onnxbuild"
FILES = [*sorted((PACKAGE / "recipe").rglob("*.py")), PACKAGE / "workplace.py"]
GIVEN_FIRST = {"error", "warning", "DataError", "DataProblem", "_stop", "_Misfit"}


def codes(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        words: list[ast.expr] = []
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            words = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            words += node.args[1:2] if name == "_Misfit" else node.args[:1] if name in GIVEN_FIRST else []
            words += node.args[3:4] if name == "_missing" else []
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "").lower() == "code":
            words = [node.value]
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 3:
            words = node.value.elts[:1]  # code, message, hint
        for word in words:
            for part in ast.walk(word):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def test_every_code_is_explained() -> None:
    found = {code for file in FILES for code in codes(ast.parse(file.read_text(encoding="utf-8"))) if "-" in code}
    found = {code for code in found if all(part.isalpha() and part.islower() for part in code.split("-"))}
    assert sorted(found - CODES.keys()) == [], "add a sentence for each to onnxbuild/recipe/codes.py"
    assert {"unknown-key", "data-shape", "wrong-digest", "yaml-tab", "labels-missing"} <= found
    text = "".join(file.read_text(encoding="utf-8") for file in FILES if file.name != "codes.py")
    assert [code for code in CODES if f'"{code}"' not in text] == [], "these can no longer be given"


def test_explanations_are_sentences() -> None:
    assert all(text[0].isupper() and text.endswith(".") for text in CODES.values())
