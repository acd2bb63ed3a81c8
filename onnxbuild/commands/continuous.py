"""Ready-made files for CI systems, filled in for a project; runs nothing."""

from __future__ import annotations

from pathlib import Path

from onnxbuild import __version__
from onnxbuild.recipe.load import check_project
from onnxbuild.recipe.project import load_project
from onnxbuild.recipe.types import Framework

TEMPLATES = Path(__file__).parent / "ci"
FILES = {
    "github": ".github/workflows/models.yaml",
    "gitlab": ".gitlab-ci.yml",
    "pre-commit": ".pre-commit-config.yaml",
}
"""Each CI system, and the file that it reads, relative to the repository's root."""
_EXTRAS = {
    Framework.TORCH: "torch",
    Framework.TENSORFLOW: "tensorflow",
    Framework.KERAS: "tensorflow",
    Framework.TFLITE: "tensorflow",
    Framework.SKLEARN: "sklearn",
}


def ci_file(system: str, root: Path) -> str:
    """Return what a CI system's file says for the project at `root`: its frameworks' extras and its folders."""
    project = load_project(root)
    text = (TEMPLATES / f"{system}.yaml").read_text(encoding="utf-8")
    for word, value in (
        ("@REQUIREMENT@", _requirement(root)),
        ("@REPORTS@", project.reports.rstrip("/")),
        ("@OUTPUT@", project.output.rstrip("/")),
    ):
        text = text.replace(word, value)
    return text


def _requirement(root: Path) -> str:
    """Return what pip is to install: this version, with the extras of the frameworks that the recipes name."""
    targets = [target for recipe in check_project(root).recipes for target in recipe.targets]
    extras = sorted({_EXTRAS[t.source.framework] for t in targets if t.source.framework in _EXTRAS})
    return f"onnxbuild{'[' + ','.join(extras) + ']' if extras else ''}=={__version__}"
