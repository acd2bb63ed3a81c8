"""`onnxbuild init`: start a project, a recipe from a model file, or a project's CI."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path

from onnxbuild import api
from onnxbuild.base.diagnostics import Diagnostic, UserError
from onnxbuild.commands.continuous import FILES as FILES_OF_CI
from onnxbuild.commands.continuous import ci_file
from onnxbuild.commands.drafting import draft_recipe, name_from
from onnxbuild.console import Console
from onnxbuild.recipe.project import find_root

EXAMPLES = """\
examples:
  onnxbuild init                       a working project here, with one recipe
  onnxbuild init --from model.onnx     a recipe with what the file tells: names, types, shapes, dynamic axes
  onnxbuild init --ci github           a workflow that makes the project and shows what came of it
"""

STARTER = Path(__file__).parent / "starter"
FILES = {
    "iris.yaml": "recipes/iris.yaml",
    "iris.onnx": "recipes/models/iris.onnx",
    "iris_test.npz": "recipes/data/iris_test.npz",
}
IGNORED = ("build/", ".onnxbuild/", "reports/")
NEXT = "Next: onnxbuild make, then open reports/index.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--from", dest="model", metavar="MODEL", help="an .onnx file to write a recipe for")
    kinds.add_argument("--ci", choices=[*FILES_OF_CI], help="write what this CI system needs to make the project")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Write the files and return 0; nothing that is there already is overwritten."""
    root = Path(arguments.directory).resolve()
    if arguments.ci is not None:
        return _write_ci(arguments.ci, find_root(root), console)
    if arguments.model is None:
        written = _write_starter(root)
    else:
        written = _write_recipe(root, Path(arguments.directory, arguments.model))
    for file in [*written, *_ignore_outputs(root)]:
        console.say(f"wrote {file.relative_to(root)}")
    console.say(NEXT)
    return 0


def _write_ci(system: str, root: Path, console: Console) -> int:
    file = root / FILES_OF_CI[system]
    _refuse_present(root, [file])
    text = ci_file(system, root)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    console.say(f"wrote {file.relative_to(root)}")
    if not (root / ".git").exists():
        console.say("It is read at the root of the repository: move it there, and set its working directory.")
    return 0


def _write_starter(root: Path) -> list[Path]:
    targets = [root / target for target in FILES.values()]
    _refuse_present(root, targets)
    for name, target in zip(FILES, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(STARTER / name, target)
    return targets


def _write_recipe(root: Path, model: Path) -> list[Path]:
    if model.suffix != ".onnx":
        message = f"{model.name} is not an .onnx file; recipes from other kinds of model are not in this version"
        raise UserError(Diagnostic(code="not-in-this-version", message=message))
    facts, data = api.inspect(model)
    name = name_from(model.stem)
    recipe, folder = root / "recipes" / f"{name}.yaml", root / "recipes" / "models"
    files = {folder / f"{name}.onnx": model, **{folder / file: model.parent / file for file in data}}
    copied = {target: source for target, source in files.items() if target.resolve() != source.resolve()}
    _refuse_present(root, [recipe, *copied])
    text = draft_recipe(facts, f"models/{name}.onnx", model.name)
    for target, source in copied.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(text, encoding="utf-8")
    return [recipe, *copied]


def _refuse_present(root: Path, targets: Iterable[Path]) -> None:
    present = [str(target.relative_to(root)) for target in targets if target.exists()]
    if present:
        message = f"{', '.join(present)} {'is' if len(present) == 1 else 'are'} there already; nothing was written"
        raise UserError(Diagnostic(code="present", message=message, hint="move it away or work in another folder"))


def _ignore_outputs(root: Path) -> list[Path]:
    """Name the outputs in .gitignore, unless git is told already."""
    file = root / ".gitignore"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    missing = [line for line in IGNORED if line not in lines]
    if not missing:
        return []
    file.write_text("\n".join([*lines, *missing]) + "\n", encoding="utf-8")
    return [file]
