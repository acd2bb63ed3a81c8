from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from onnxbuild.base.diagnostics import Severity, UserError
from onnxbuild.recipe.load import load_recipes
from onnxbuild.recipe.project import find_root, load_project
from onnxbuild.recipe.select import select_targets
from onnxbuild.recipe.types import Limits
from tests.recipe.builder import SMALLEST, ProjectFiles


def test_the_root_is_found_from_below(project: ProjectFiles):
    project.extend("")
    below = project.root / "recipes" / "models"
    assert find_root(below) == project.root.resolve()
    with pytest.raises(UserError) as raised:
        find_root(Path("/"))
    assert raised.value.diagnostics[0].code == "no-project"


def test_settings_of_the_project(project: ProjectFiles):
    project.write("onnxbuild.yaml", "recipes: r/*.yml\nlimits: {memory: 8 GB, time: 30 min}\njobs: 3\nstore: /tmp/s\n")
    found = load_project(project.root)
    assert (found.recipes, found.jobs, found.store) == ("r/*.yml", 3, "/tmp/s")
    assert found.limits == Limits(memory=8 * 10**9, time=1800.0)


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("job: 2\n", "unknown-key", 1, 1),
        ("limits: {memory: 8}\n", "wrong-type", 1, 18),
        ("jobs: 0\n", "wrong-value", 1, 7),
        ("remote: s3://x\n", "not-in-this-version", 1, 1),
        ("trusted_keys: [a]\n", "not-in-this-version", 1, 1),
        ("defaults: {name: a}\n", "not-in-variant", 1, 12),
        ("defaults:\n  opset: x\n", "wrong-type", 2, 10),
        ("output: ../x\n", "path-outside", 1, 9),
        ("reports: build\noutput: build\n", "wrong-value", 1, 10),
        ("", "empty-file", 1, 1),
    ],
)
def test_problems_of_the_project_file(project: ProjectFiles, text: str, code: str, line: int, column: int):
    project.write("onnxbuild.yaml", text)
    project.extend("bogus: 99\n")
    with pytest.raises(UserError) as raised:
        load_project(project.root)
    (found,) = raised.value.diagnostics
    assert found.place is not None
    assert (found.code, found.place.file, found.place.line, found.place.column) == (
        code,
        "onnxbuild.yaml",
        line,
        column,
    )
    assert [d.code for d in project.found()] == [code, "unknown-key"]
    if code == "path-outside":
        assert found.hint == "write one from the project's root on, such as `output: build`"


def test_a_broken_recipe_that_is_not_selected_is_a_warning(project: ProjectFiles):
    project.extend("")
    project.recipe("format: 1\nopst: 3\n", "broken.yaml")
    loaded = project.load("a")
    assert [t.name for t in loaded.targets] == ["a:default"]
    assert [d.code for d in loaded.diagnostics] == ["broken-recipe"]
    assert {d.severity for d in loaded.diagnostics} == {Severity.WARNING}
    assert not loaded.has_errors
    assert project.load("bro*").has_errors
    assert project.load().has_errors


def test_names_are_unique(project: ProjectFiles):
    project.extend("")
    project.recipe(SMALLEST + "name: a\n", "b.yaml")
    found = project.found()
    assert [(d.code, str(d.place)) for d in found] == [
        ("duplicate-name", "recipes/a.yaml:1:1"), ("duplicate-name", "recipes/b.yaml:6:1"),
    ]  # fmt: skip
    assert found[0].note == "also recipes/b.yaml"


def test_a_stem_that_is_no_name_needs_one(project: ProjectFiles):
    project.recipe(SMALLEST, "My Model.yaml")
    assert [d.code for d in project.found()] == ["wrong-name"]
    project.recipe(SMALLEST + "name: mine\n", "My Model.yaml")
    assert project.target().name == "mine:default"


def test_no_recipe_at_all(project: ProjectFiles):
    assert [d.code for d in project.found()] == ["no-recipes"]


VARIANTS = {"digits": ["fp32", "int8"], "wine": ["default"], "broken": None}


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ([], {"digits": ["fp32", "int8"], "wine": ["default"], "broken": []}),
        (["digits"], {"digits": ["fp32", "int8"]}),
        (["digits:int8"], {"digits": ["int8"]}),
        (["*:int8", "wine"], {"digits": ["int8"], "wine": ["default"], "broken": []}),
        (["d*:f*"], {"digits": ["fp32"]}),
        (["broken:any"], {"broken": []}),
    ],
)
def test_selection(patterns: list[str], chosen: dict[str, list[str]]):
    assert select_targets(patterns, VARIANTS) == (chosen, [])


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("digit", "did you mean 'digits'?"),
        ("digits:int9", "did you mean 'digits:int8'?"),
        ("digits:zzzzzzzzzzz", "there are: digits:fp32, digits:int8"),
        ("q*", "there are: digits, wine, broken"),
    ],
)
def test_a_pattern_that_means_nothing(pattern: str, hint: str):
    chosen, (error,) = select_targets([pattern], VARIANTS)
    assert chosen == {}
    assert (error.code, error.hint) == ("no-such-target", hint)


def test_a_recipe_in_a_subfolder_and_its_own_paths(project: ProjectFiles):
    project.write("onnxbuild.yaml", "recipes: '**/*.recipe.yaml'\n")
    project.write("deep/er/a.recipe.yaml", SMALLEST + "name: a\n")
    project.write("deep/er/models/net.py", "from other import build\n")
    target = project.target()
    assert (target.file, target.folder) == ("deep/er/a.recipe.yaml", "deep/er")


def test_loading_imports_nothing_heavy():
    names = "numpy jsonschema onnx pyarrow"
    code = f"import onnxbuild.recipe.load, sys; print([m for m in '{names}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_many_recipes_load_quickly(project: ProjectFiles):
    variants = "variants:\n" + "".join(f"  v{n}: {{opset: {17 + n}}}\n" for n in range(3))
    for number in range(200):
        project.recipe(SMALLEST + variants, f"r{number}.yaml")
    settings = load_project(project.root)
    start = time.process_time()
    loaded = load_recipes(settings)
    assert len(loaded.targets) == 600
    assert time.process_time() - start < 3  # 0.4 s on one idle core; the bound only catches what grows


def test_a_recipe_whose_link_leads_nowhere_is_an_error_and_an_editor_s_lock_is_none(project: ProjectFiles):
    project.extend("")
    (project.root / "recipes/.#a.yaml").symlink_to("somebody@host.1234")
    (project.root / "recipes/folder.yaml").mkdir()
    assert project.found() == []
    (project.root / "recipes/lost.yaml").symlink_to("nowhere.yaml")
    assert (project.only().code, str(project.only().place)) == ("unreadable-file", "recipes/lost.yaml:1:1")
