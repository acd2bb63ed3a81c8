"""Recipes as read last time: found again only while nothing that reading looked at differs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from onnxbuild.recipe import cache as module
from onnxbuild.recipe.cache import RecipeCache
from onnxbuild.recipe.load import Loaded, load_recipes
from onnxbuild.recipe.project import load_project
from tests.e2e.running import wait_until_settled
from tests.project import MLP, Project

FILE = ".onnxbuild/state/recipes.msgpack"


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust files that were written just now: the tests change them only between loads."""
    monkeypatch.setattr(module, "GRAIN", -int(1e12))


def load(project: Project) -> tuple[Loaded, list[str]]:
    """Load with the cache; return what was loaded and the recipes that the cache did not know."""
    root = project.root.resolve()
    (root / FILE).parent.mkdir(parents=True, exist_ok=True)
    cache = RecipeCache(root, root / FILE)
    missed = []
    find = cache.find

    def noted(file: str) -> object:
        found = find(file)
        if found is None:
            missed.append(file)
        return found

    cache.find = noted  # type: ignore[method-assign, assignment]
    return load_recipes(cache.project or load_project(root), cache=cache), missed


def test_second_load_is_equal_and_reads_nothing(mlp: Project) -> None:
    mlp.recipe("other", MLP + "variants: {a: {}, b: {quantization: {mode: dynamic}}}\n")
    first, missed = load(mlp)
    assert len(missed) == 2
    second, missed = load(mlp)
    assert missed == []
    assert second.recipes == first.recipes
    assert second.selected == first.selected
    assert all(set(first.read[name]) <= set(second.read[name]) for name in first.order)


@pytest.mark.parametrize("name", ["recipes/mlp.yaml", "recipes/models/mlp.onnx", "recipes/data/test.npz"])
def test_just_what_looked_at_a_changed_file_is_read_again(mlp: Project, name: str) -> None:
    mlp.recipe("other", MLP.replace("models/mlp.onnx", "models/o.onnx").replace("data/test.npz", "data/o.npz"))
    for one, other in (("models/mlp.onnx", "models/o.onnx"), ("data/test.npz", "data/o.npz")):
        (mlp.root / "recipes" / other).write_bytes((mlp.root / "recipes" / one).read_bytes())
    load(mlp)
    os.utime(mlp.root / name)
    assert load(mlp)[1] == ["recipes/mlp.yaml"]
    assert load(mlp)[1] == []


def test_file_that_is_gone_is_found_missing(mlp: Project) -> None:
    load(mlp)
    (mlp.root / "recipes/data/test.npz").unlink()
    loaded, _ = load(mlp)
    assert [d.code for d in loaded.diagnostics] == ["missing-path"]
    assert load(mlp)[1] == ["recipes/mlp.yaml"], "what is broken is not kept"


def test_glob_that_nothing_matches_any_more(mlp: Project) -> None:
    mlp.write("recipes/extra/a.txt", "x")
    mlp.recipe("mlp", MLP.replace("onnx, path: models/mlp.onnx}", "onnx, path: models/mlp.onnx, reads: ['extra/*']}"))
    load(mlp)
    assert load(mlp)[1] == []
    (mlp.root / "recipes/extra/a.txt").unlink()
    assert [d.code for d in load(mlp)[0].diagnostics] == ["missing-path"]


def test_other_settings_and_other_code_are_another_cache(mlp: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    load(mlp)
    mlp.write("onnxbuild.yaml", "output: out\n")
    assert load(mlp)[1] == ["recipes/mlp.yaml"]
    assert load(mlp)[1] == []
    monkeypatch.setattr(module, "own_files", lambda: [__file__])
    assert load(mlp)[1] == ["recipes/mlp.yaml"]


def test_what_was_written_just_now_is_not_trusted(mlp: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRAIN", int(1e12))
    load(mlp)
    assert load(mlp)[1] == ["recipes/mlp.yaml"]


def test_a_damaged_cache_is_no_cache(mlp: Project) -> None:
    load(mlp)
    file = mlp.root / FILE
    file.write_bytes(file.read_bytes()[:-9])
    assert load(mlp)[1] == ["recipes/mlp.yaml"]


def test_nothing_imports_yaml_or_numpy_when_all_is_known(mlp: Project) -> None:
    (mlp.root / FILE).parent.mkdir(parents=True)
    wait_until_settled(mlp)
    script = "import sys; from pathlib import Path; from onnxbuild import api; api.open_project(Path('.').resolve())\n"
    script += "print([n for n in ('yaml', 'numpy', 'onnx', 'onnxruntime', 'jsonschema') if n in sys.modules])"
    out = ""
    for _ in range(2):
        out = subprocess.run(
            [sys.executable, "-c", script],
            cwd=mlp.root,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    assert out == "[]\n"
