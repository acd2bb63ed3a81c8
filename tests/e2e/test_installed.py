"""What the installed command imports: a plain install in an environment of its own that shares this one's libraries."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks.install import install
from tests.e2e.running import wait_until_settled
from tests.project import ENVIRONMENT, MLP, Project, write_mlp

LIBRARIES = {"numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript"}
FRAMEWORKS = {"torch", "tensorflow", "keras", "sklearn"}
TELLING = """
import os, sys

def leave(code, leave=os._exit):
    with open(os.environ["TELL_MODULES"], "w") as file:
        file.write("\\n".join(sys.modules))
    leave(code)

if "TELL_MODULES" in os.environ:
    os._exit = leave
"""
"""For sitecustomize: the command, which leaves by os._exit, then writes down what it has imported."""


class Installed:
    """The installed command, and a project that was made with it."""

    def __init__(self, programs: Path, project: Project) -> None:
        self.command, self.project = programs / "onnxbuild", project
        self._told = project.root.with_name("modules")

    def modules(self, *arguments: str) -> set[str]:
        """Run the command and return the modules that its process had imported in the end."""
        self._told.unlink(missing_ok=True)
        subprocess.run(
            [self.command, *arguments],
            cwd=self.project.root,
            env={**ENVIRONMENT, "TELL_MODULES": str(self._told)},
            capture_output=True,
            check=True,
        )
        return set(self._told.read_text().split("\n"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The command, and a project of one target that it has made."""
    folder = tmp_path_factory.mktemp("installed")
    programs = install(folder)
    base = str(programs.parent)
    libraries = sysconfig.get_path("purelib", vars={"base": base, "platbase": base})
    Path(libraries, "sitecustomize.py").write_text(TELLING)
    project = Project(folder / "project")
    write_mlp(project)
    project.recipe("mlp", MLP)
    found = Installed(programs, project)
    found.modules("make")
    wait_until_settled(project)
    found.modules("status")
    return found


def test_the_command_that_is_looked_at_is_the_installed_one(installed: Installed) -> None:
    assert installed.command.read_text().startswith(f"#!{installed.command.parent}/python")
    assert "onnxbuild.making" in installed.modules("status")


@pytest.mark.parametrize("call", [["--help"], ["status"], ["explain", "mlp"], ["gc"], ["gc", "-n"]], ids=" ".join)
def test_a_light_command_imports_no_model_library_and_no_framework(installed: Installed, call: list[str]) -> None:
    assert installed.modules(*call).isdisjoint(LIBRARIES | FRAMEWORKS)


def test_a_make_that_runs_something_imports_no_model_library_and_no_framework(installed: Installed) -> None:
    path = installed.project.root / "recipes/models/mlp.onnx"
    model = onnx.load(path)
    weights = model.graph.initializer[0]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(1.01), weights.name))
    onnx.save(model, path)
    found = installed.modules("make")
    assert "onnxbuild.report.render" in found, "it has run something and drawn the page"
    assert found.isdisjoint(LIBRARIES | FRAMEWORKS | {"jsonschema"})


def test_a_make_with_nothing_to_do_imports_the_stamp_and_nothing_else_of_ours(installed: Installed) -> None:
    installed.modules("make")
    found = installed.modules("make")
    ours = {name for name in found if name.startswith("onnxbuild")}
    assert ours == {"onnxbuild", "onnxbuild.__main__", "onnxbuild.stamp"}
    assert found.isdisjoint(LIBRARIES | FRAMEWORKS | {"yaml", "msgspec", "argparse", "re"})
