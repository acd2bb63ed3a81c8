"""Every example's output runs where only ONNX Runtime and numpy are: what a deployment has."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Examples
from tests.e2e.test_examples import TARGETS
from tests.project import ENVIRONMENT

pytestmark = [
    pytest.mark.torch,
    pytest.mark.tensorflow,
    pytest.mark.sklearn,
    pytest.mark.xdist_group("examples"),
]

CONSUMER = Path(__file__).with_name("consumer.py")
ABSENT = ("onnx", "onnx_ir", "onnxscript", "torch", "sklearn", "tensorflow", "pandas", "google.protobuf", "onnxbuild")


@pytest.fixture(scope="module")
def lean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing but numpy and onnxruntime, linked from this one; returns its Python."""
    home = tmp_path_factory.mktemp("lean") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin/python"
    site = Path(run(python, "-c", "import site; print(site.getsitepackages()[0])").strip())
    for name in ("numpy", "onnxruntime"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        (site / name).symlink_to(package)
        if (libraries := package.with_name(f"{name}.libs")).exists():
            (site / libraries.name).symlink_to(libraries)
    return python


def run(python: Path, *arguments: str | Path) -> str:
    environment = {key: value for key, value in ENVIRONMENT.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [python, *arguments],
        cwd=python.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def shapes(examples: Examples, lean: Path) -> dict[str, Any]:
    """What each model returned at the smallest and at the largest size, by target."""
    found: dict[str, Any] = json.loads(run(lean, CONSUMER, examples.project.root / "build"))
    return found


def test_environment_holds_only_the_runtime(lean: Path) -> None:
    code = (
        "import importlib.util\n"
        "def there(name):\n"
        "    try: return importlib.util.find_spec(name) is not None\n"
        "    except ModuleNotFoundError: return False\n"
        f"print([name for name in {[*ABSENT, 'numpy', 'onnxruntime']} if there(name)])"
    )
    assert run(lean, "-c", code).strip() == "['numpy', 'onnxruntime']"


def test_every_example_runs_there(shapes: dict[str, Any]) -> None:
    assert set(shapes) == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_outputs_have_the_declared_sizes(shapes: dict[str, Any], examples: Examples, target: str) -> None:
    manifest = json.loads((examples.folder(target) / "manifest.json").read_text())
    for end, outputs in zip(("min", "max"), shapes[target], strict=True):
        batch = manifest["dynamic_axes"]["batch"][end]
        for declared, got in zip(manifest["outputs"], outputs, strict=True):
            assert got["shape"] == [batch, *declared["shape"][1:]]
            assert got["dtype"] == declared["dtype"]
            assert got["finite"]
