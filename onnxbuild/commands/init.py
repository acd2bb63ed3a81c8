"""`onnxbuild init`: start a project, a recipe from a model file, or a project's CI."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path

from onnxbuild import api
from onnxbuild.base.diagnostics import Diagnostic, UserError
from onnxbuild.base.digest import digest_file
from onnxbuild.commands.continuous import FILES as FILES_OF_CI
from onnxbuild.commands.continuous import ci_file
from onnxbuild.commands.drafting import draft_recipe, name_from
from onnxbuild.console import Console
from onnxbuild.recipe.checks.files import SAVED_MODEL_FILES
from onnxbuild.recipe.checks.source import PATHS, PICKLES, WEIGHTS
from onnxbuild.recipe.project import find_root
from onnxbuild.recipe.types import Framework, Source

EXAMPLES = """\
examples:
  onnxbuild init                       a working project here, with one recipe
  onnxbuild init --from model.onnx     a recipe with what the file tells: names, types, shapes, dynamic axes
  onnxbuild init --from net.keras      also .pt2, .tflite, .skops, a SavedModel folder
  onnxbuild init --ci github           a workflow that makes the project and shows what came of it
"""

STARTER = Path(__file__).parent / "starter"
FILES = {
    "iris.yaml": "recipes/iris.yaml",
    "iris.onnx": "recipes/models/iris.onnx",
    "iris_test.npz": "recipes/data/iris_test.npz",
}
UNREADABLE = (".joblib", ".pkl")
"""Files of which nothing can be said without running what is in them."""
IGNORED = ("build/", ".onnxbuild/", "reports/")
NEXT = "Next: onnxbuild make, then open reports/index.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--from", dest="model", metavar="MODEL", help="a saved model to write a recipe for")
    kinds.add_argument("--ci", choices=[*FILES_OF_CI], help="write what this CI system needs to make the project")
    parser.add_argument("--trust", choices=("pickle",), help="open a .joblib or .pkl, which runs the code in it")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Write the files and return 0; nothing that is there already is overwritten."""
    root = Path(arguments.directory).resolve()
    if arguments.ci is not None:
        return _write_ci(arguments.ci, find_root(root), console)
    if arguments.model is None:
        written = _write_starter(root)
    else:
        written = _write_recipe(root, Path(arguments.directory, arguments.model), arguments.trust)
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
    if any((root / "recipes").glob("*.yaml")):
        hint = "`onnxbuild init --from MODEL` adds the recipe of a model"
        raise UserError(Diagnostic(code="present", message="there are recipes here already", hint=hint))
    for name, target in zip(FILES, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(STARTER / name, target)
    return targets


def _write_recipe(root: Path, model: Path, trust: str | None) -> list[Path]:
    source = _source_of(model, trust)
    facts = api.describe(source, model)
    name = name_from(model.name if model.is_dir() else model.stem)
    recipe, folder = root / "recipes" / f"{name}.yaml", root / "recipes" / "models"
    place = folder / (name if model.is_dir() else f"{name}{model.suffix}")
    files = {place: model, **{folder / file: model.parent / file for file in facts.files}}
    copied = {target: source for target, source in files.items() if target.resolve() != source.resolve()}
    _refuse_present(root, [recipe, *copied])
    digest = digest_file(model) if model.suffix in PICKLES else None
    text = draft_recipe(facts, place.relative_to(recipe.parent).as_posix(), model.name, digest)
    for target, origin in copied.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, target)
        else:
            shutil.copyfile(origin, target)
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(text, encoding="utf-8")
    return [recipe, *copied]


def _source_of(model: Path, trust: str | None) -> Source:
    """Return the source that the file or folder is by its ending; raises UserError."""
    if not model.exists():
        raise UserError(Diagnostic(code="missing-file", message=f"there is no file {model}"))
    if model.is_dir():
        if not any((model / name).is_file() for name in SAVED_MODEL_FILES):
            message = f"{model} is a folder without {SAVED_MODEL_FILES[0]}, so no SavedModel"
            raise UserError(Diagnostic(code="not-a-model", message=message))
        return Source(framework=Framework.TENSORFLOW, path=model.name)
    framework = next((kind for kind, endings in PATHS.items() if model.suffix in endings), None)
    if framework is None:
        weights = any(model.name.endswith(ending) for endings in WEIGHTS.values() for ending in endings)
        hint = "these are weights: write a recipe with the `factory` that builds the model, and them under `weights`"
        known = ", ".join(ending for endings in PATHS.values() for ending in endings)
        message = f"{model.name} is no saved model that recipes take: {known}, or a SavedModel folder"
        raise UserError(Diagnostic(code="not-a-model", message=message, hint=hint if weights else None))
    if model.suffix in UNREADABLE and trust != "pickle":
        message = f"{model.name} is a pickle: to see what it holds is to run the code in it"
        hint = f"if you trust where it is from: onnxbuild init --from {model} --trust pickle"
        raise UserError(Diagnostic(code="untrusted-pickle", message=message, hint=hint))
    return Source(framework=framework, path=model.name, trust_pickle=model.suffix in UNREADABLE)


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
