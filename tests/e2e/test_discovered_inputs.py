"""What user code sees of the world, and that what it was seen to read decides what runs again, each in its own copy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.project import MLP, Done, Project, write_mlp

LOADER = """\
import json
import os
import subprocess
import sys

MET = "json.tool" in sys.modules

import json.tool

import numpy as np

import net
import shared

try:
    import maybe_module
    SCALE = maybe_module.SCALE
except ImportError:
    SCALE = 1.0


def load():
    look = {
        "folder": os.getcwd(),
        "path": sys.path[:2],
        "environment": dict(os.environ),
        "net": [net.NAME, net.__file__],
        "shared": shared.NAME,
        "met": MET,
    }
    with open(os.path.join(os.environ["TMPDIR"], "look.json"), "w") as file:
        json.dump(look, file)
    print(json.dumps(look))
    x = np.random.default_rng(0).normal(size=(24, 8)) * SCALE
    return {"x": x.astype(np.float32)}
"""
RECIPE = MLP.replace(
    "evaluation: {data: data/test.npz, metric: accuracy}", "evaluation: {data: {loader: NAME/load.py:load}}"
).replace("path: models/mlp.onnx", "path: models/mlp.onnx, env: [OWN_SETTING]")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built project with two recipes whose loaders have the same name, and import a `net` of their own each."""
    project = Project(tmp_path_factory.mktemp("built") / "project")
    write_mlp(project)
    project.write("shared.py", "NAME = 'of the project'\n")
    for name in "ab":
        project.write(f"recipes/{name}/load.py", LOADER)
        project.write(f"recipes/{name}/net.py", f"NAME = 'of {name}'\n")
        project.recipe(name, RECIPE.replace("NAME", name))
    done = project.make("-j1", env=ENVIRONMENT)
    assert done.code == 0, done.out + done.err
    assert done.event("action", action="a/data")["warnings"] == []
    return project.root


ENVIRONMENT = {"OWN_SETTING": "1", "SECRET": "2", "LC_NUMERIC": "C", "LD_LIBRARY_PATH": "/nowhere"}


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Project:
    shutil.copytree(built, tmp_path / "copy")
    return Project(tmp_path / "copy")


def make(project: Project, *arguments: str, **environment: str) -> Done:
    return project.make(*arguments, env=ENVIRONMENT | environment)


def look(root: Path, name: str) -> dict[str, Any]:
    """What the loader of a recipe printed into its log."""
    text = (root / f".onnxbuild/logs/{name}_data.log").read_text()
    return dict(json.loads(text.splitlines()[-1]))


def test_two_recipes_with_their_own_net_never_meet(built: Path) -> None:
    for name in "ab":
        assert look(built, name)["net"] == [f"of {name}", str(built / f"recipes/{name}/net.py")]


def test_what_one_recipe_s_code_imports_no_other_finds_imported(built: Path) -> None:
    assert [look(built, name)["met"] for name in "ab"] == [False, False]


def test_user_code_runs_in_the_recipe_s_folder_with_its_own_folder_first_then_the_project_on_the_path(
    built: Path,
) -> None:
    seen = look(built, "a")
    assert seen["folder"] == str(built / "recipes")
    assert seen["path"] == [str(built / "recipes/a"), str(built)]
    assert seen["shared"] == "of the project"


def test_user_code_sees_what_it_is_promised_and_what_it_declares(built: Path) -> None:
    environment = look(built, "a")["environment"]
    assert environment["OWN_SETTING"] == "1"
    assert environment["LC_NUMERIC"] == "C"
    assert environment["HF_HUB_OFFLINE"] == environment["TRANSFORMERS_OFFLINE"] == "1"
    assert str(built) in environment["TMPDIR"]
    assert {"PATH", "HOME"} <= set(environment)
    assert not {"SECRET", "LD_LIBRARY_PATH", "PYTHONPATH"} & set(environment)


def test_module_that_was_looked_for_and_appears_runs_what_looked_for_it(copy: Project) -> None:
    copy.write("recipes/a/maybe_module.py", "SCALE = 2.0\n")
    done = make(copy)
    assert done.code == 0, done.err
    assert [name for name in done.ran if "/data" in name] == ["a/data"]
    assert "input recipes/a/maybe_module.py is there now" in done.event("action", action="a/data")["reasons"]
    (copy.root / "recipes/a/maybe_module.py").unlink()
    again = make(copy)
    assert again.ran == []


def test_module_that_would_come_first_runs_what_imports_the_name(copy: Project) -> None:
    copy.write("recipes/a/shared.py", "NAME = 'of a'\n")
    done = make(copy)
    assert done.ran == ["a/data"]
    assert look(copy.root, "a")["shared"] == "of a"


def test_new_files_beside_the_code_run_nothing(copy: Project) -> None:
    copy.write("recipes/a/unrelated.py", "")
    copy.write("unrelated.py", "")
    done = make(copy)
    assert done.ran == []


def test_declared_variable_runs_what_runs_user_code_only(copy: Project) -> None:
    done = make(copy, OWN_SETTING="other")
    assert done.ran == ["a/data", "b/data"]
    assert make(copy, SECRET="other", OWN_SETTING="other").ran == []


def test_stale_bytecode_is_never_run(copy: Project) -> None:
    import os
    import py_compile

    module = copy.root / "recipes/a/net.py"
    py_compile.compile(str(module))
    before = module.stat()
    module.write_text(module.read_text().replace("of a", "of c"))
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert make(copy).ran == ["a/data"]
    assert look(copy.root, "a")["net"][0] == "of c"


def edit(project: Project, name: str, old: str, new: str) -> None:
    file = project.root / name
    text = file.read_text()
    assert text.count(old) == 1, (name, old)
    file.write_text(text.replace(old, new))


def test_read_outside_the_project_warns_and_with_strict_reads_fails_until_the_recipe_names_it(copy: Project) -> None:
    outside = copy.root.parent / "outside.txt"
    outside.write_text("1")
    edit(copy, "recipes/a/load.py", "def load():\n", f"def load():\n    open({str(outside)!r}).read()\n")
    done = make(copy, "a")
    assert done.code == 0, done.err
    (warning,) = done.event("action", action="a/data")["warnings"]
    assert warning["code"] == "read-outside-project"
    assert "../outside.txt" in warning["message"]
    outside.write_text("2")
    changed = make(copy, "a")
    assert changed.ran == ["a/data"]
    assert changed.event("action", action="a/data")["reasons"] == ["input ../outside.txt changed"]
    edit(copy, "recipes/a.yaml", "opset: 20", "opset: 20\nstrict_reads: true")
    strict = make(copy, "a")
    assert strict.code == 1
    assert strict.event("action", action="a/data")["failure"]["code"] == "read-outside-project"
    edit(copy, "recipes/a.yaml", "env: [OWN_SETTING]", "env: [OWN_SETTING], reads: [../../outside.txt]")
    assert make(copy, "a").code == 0


def test_what_a_subprocess_reads_is_seen_under_reads(copy: Project) -> None:
    copy.write("recipes/text/a.txt", "1")
    edit(copy, "recipes/a/load.py", "def load():\n", "def load():\n    subprocess.run(['cat', 'text/a.txt'])\n")
    done = make(copy, "a")
    (warning,) = done.event("action", action="a/data")["warnings"]
    assert warning["code"] == "unseen-reads"
    assert "starts cat" in warning["message"]
    edit(copy, "recipes/a.yaml", "env: [OWN_SETTING]", "env: [OWN_SETTING], reads: [text/*.txt]")
    named = make(copy, "a")
    assert named.event("action", action="a/data")["warnings"] == []
    copy.write("recipes/text/a.txt", "2")
    assert make(copy, "a").ran == ["a/data"]
    copy.write("recipes/text/b.txt", "2")
    assert make(copy, "a").ran == ["a/data"]


ODD = """\
import os
import numpy as np


def load():
    folder = os.path.dirname(__file__)
    for name in sorted(os.listdir(folder)):
        if WHEN and name.startswith("odd"):
            THEN(os.path.join(folder, name))
    return {"x": np.ones((4, 8), np.float32)}


def raise_(name):
    raise ValueError(os.path.relpath(name, ".."))
"""


@pytest.mark.parametrize(
    ("when", "then", "told"),
    [
        ("False", "print", None),
        ("True", "open", "user code reads 'recipes/odd\\udcff', a name that is not UTF-8 and cannot be recorded"),
        ("True", "raise_", "the loader 'load' raised ValueError: recipes/odd\\udcff"),
    ],
)
def test_a_file_name_that_is_no_text_is_the_user_s_matter(
    tmp_path: Path, when: str, then: str, told: str | None
) -> None:
    project = Project(tmp_path)
    write_mlp(project)
    Path(str(project.root) + "/recipes/odd\udcff").write_text("x")
    code = ODD.replace("WHEN", when).replace("THEN", then)
    project.write(
        "recipes/load.py", code + "\n\ndef raise_(name):\n    raise ValueError(os.path.relpath(name, '..'))\n"
    )
    project.recipe("mlp", MLP.replace("{data: data/test.npz, metric: accuracy}", "{data: {loader: load.py:load}}"))
    done = project.make()
    failure = done.event("action", stage="data")["failure"]
    assert (failure and failure["message"]) == told
    assert done.code == (0 if told is None else 1)
    assert done.event("action", stage="data")["decision"] == "run"
    assert told is not None or project.make().out.startswith("Nothing to do")
