"""The examples are whole: every file and function they name is there, and their models are as good as said."""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from onnxbuild.base.digest import digest_bytes
from onnxbuild.recipe.lock import encode_lock, parse_lock
from onnxbuild.recipe.problems import Problems

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
NAMES = sorted(file.stem for file in RECIPES.glob("*.yaml"))
FRAMEWORKS = {"torch", "tensorflow", "keras", "tflite", "sklearn", "onnx"}
PATH_KEYS = {"path", "data", "reads"}
FUNCTION_KEYS = {"factory", "loader", "function", "custom"}
LARGEST = 1_500_000

# The least (or, for an error, the most) that each committed model scores on its held-out data.
SCORES = {
    "digits_cnn": 0.97,
    "digits_mobile": 0.97,
    "digits_transformer": 0.95,
    "digits_keras": 0.97,
    "digits_savedmodel": 0.95,
    "digits_tflite": 0.95,
    "digits_2019": 0.95,
    "wine_pipeline": 0.90,
    "cancer_trees": 0.97,
    "diabetes_trees": 60.0,
}
ERRORS = {"diabetes_trees"}
MARKS = {
    "digits_cnn": ("torch", "torch"),
    "digits_mobile": ("torch", "torch"),
    "digits_transformer": ("torch", "torch"),
    "digits_keras": ("tensorflow", "keras"),
    "digits_savedmodel": ("tensorflow", "tensorflow"),
    "digits_tflite": ("tensorflow", "tensorflow"),
    "digits_2019": ("sklearn", "sklearn"),
    "wine_pipeline": ("sklearn", "skops"),
    "cancer_trees": ("sklearn", "xgboost"),
    "diabetes_trees": ("sklearn", "lightgbm"),
}


def scripts() -> list[Any]:
    return [pytest.param(name, marks=getattr(pytest.mark, mark)) for name, (mark, _) in MARKS.items()]


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((RECIPES / f"{name}.yaml").read_text())


def walk(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    yield key, value
    if isinstance(value, dict):
        for name, part in value.items():
            yield from walk(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from walk(part, key)


def named_files(recipe: dict[str, Any]) -> set[str]:
    """Return every file or folder that the recipe names, functions without their name."""
    files = {recipe["source"]["weights"]} if "weights" in recipe["source"] else set()
    for key, value in walk(recipe):
        if isinstance(value, str) and key in PATH_KEYS:
            files.add(value)
        elif isinstance(value, str) and key in FUNCTION_KEYS:
            files.add(value.rpartition(":")[0])
    return files


def test_every_source_framework_has_an_example() -> None:
    assert {read(name)["source"]["framework"] for name in NAMES} == FRAMEWORKS


@pytest.mark.parametrize("name", NAMES)
def test_recipe_names_only_what_is_there(name: str) -> None:
    recipe = read(name)
    missing = [file for file in named_files(recipe) if not (RECIPES / file).exists()]
    assert not missing
    for key, value in walk(recipe):
        if key in FUNCTION_KEYS and isinstance(value, str):
            file, _, function = value.rpartition(":")
            tree = ast.parse((RECIPES / file).read_text())
            assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, value


@pytest.mark.parametrize("name", NAMES)
def test_recipe_opens_with_its_schema_and_says_what_it_is(name: str) -> None:
    lines = (RECIPES / f"{name}.yaml").read_text().splitlines()
    assert lines[0] == "# yaml-language-server: $schema=../schemas/recipe.schema.json"
    assert read(name)["format"] == 1
    assert len(read(name)["description"]) > 30
    assert (RECIPES / "train" / f"{name.replace('-', '_')}.py").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_pin_is_the_digest_of_the_file(name: str) -> None:
    source = read(name)["source"]
    if "trust" in source:
        assert "sha256" in source
    if "sha256" in source:
        file = RECIPES / (source.get("path") or source["weights"])
        assert source["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_ratio_gates_name_another_variant(name: str) -> None:
    recipe = read(name)
    for variant, changes in recipe.get("variants", {}).items():
        for _, value in walk(changes.get("gates", {})):
            if isinstance(value, str) and (match := re.search(r"% of (\S+)$", value)):
                assert match[1] in set(recipe["variants"]) - {variant}


def test_no_model_or_data_file_is_left_over() -> None:
    named = set().union(*(named_files(read(name)) for name in NAMES))
    kept = [
        file.relative_to(RECIPES).as_posix()
        for folder in ("models", "data", "metrics", "passes")
        for file in (RECIPES / folder).iterdir()
        if file.name != "__pycache__"
    ]
    assert sorted(kept) == sorted(named)


def test_locks_are_as_accept_writes_them() -> None:
    locks = sorted(RECIPES.glob("*.lock.json"))
    assert [lock.name for lock in locks] == ["cancer-trees.lock.json"]
    for lock in locks:
        problems = Problems()
        found = parse_lock(lock.read_text("utf-8"), lock.name, problems)
        assert not problems.diagnostics
        assert encode_lock(found) == lock.read_text("utf-8")
        recipe = (RECIPES / lock.name.replace(".lock.json", ".yaml")).read_bytes()
        assert {entry.recipe for entry in found.values()} == {digest_bytes(recipe)}, "accept it again with its recipe"


def test_examples_stay_small() -> None:
    files = [file for file in RECIPES.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert sum(file.stat().st_size for file in files) < LARGEST


def test_the_examples_cover_the_common_modes() -> None:
    seen = {(key, str(value)) for name in NAMES for key, value in walk(read(name)) if not isinstance(value, dict)}
    modes = {("mode", mode) for mode in ("static", "dynamic", "float16", "int4")}
    formats = {("format", "qdq"), ("format", "qoperator")}
    methods = {("method", method) for method in ("magnitude", "threshold", "2:4")}
    metrics = {("metric", metric) for metric in ("accuracy", "top_k", "f1", "roc_auc", "rmse")}
    assert modes | formats | methods | metrics <= seen


def test_calibration_rows_are_not_test_rows() -> None:
    with np.load(RECIPES / "data/digits_calibration.npz") as train, np.load(RECIPES / "data/digits_test.npz") as test:
        seen = {row.tobytes() for row in train["image"]}
        assert len(train["image"]) == 256
        assert not any(row.tobytes() in seen for row in test["image"])


def test_layouts_hold_the_same_digits() -> None:
    from safetensors.numpy import load_file

    with np.load(RECIPES / "data/digits_test.npz") as file:
        images, labels = file["image"].reshape(-1, 64), file["labels"]
    others = [load_file(RECIPES / "data/digits_rows_test.safetensors")]
    others += [dict(np.load(RECIPES / f"data/{name}")) for name in ("digits_nhwc_test.npz", "digits_pixels_test.npz")]
    for arrays in others:
        labels_too = arrays.pop("labels")
        (pixels,) = arrays.values()
        np.testing.assert_array_equal(pixels.reshape(-1, 64), images)
        np.testing.assert_array_equal(labels_too, labels)


def test_the_old_file_is_old() -> None:
    import onnx

    model = onnx.load(RECIPES / "models/digits_2019.onnx")
    assert model.ir_version == 4
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 9)]
    assert not model.graph.initializer
    constants = [node for node in model.graph.node if node.op_type == "Constant"]
    assert sum(int(np.prod(node.attribute[0].t.dims)) for node in constants) > 15_000


def score_in(folder: Path, script: str) -> float:
    """Return what the script's `score` says of the model in `folder`, from a process of its own."""
    code = f"import sys, pathlib, {script} as s; print('score', repr(s.score(pathlib.Path(sys.argv[1]))))"
    done = run([sys.executable, "-W", "ignore", "-c", code, str(folder)])
    return float(re.search(r"^score (.+)$", done, re.MULTILINE)[1])  # type: ignore[index]


def run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=RECIPES / "train", capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_script_has_a_score() -> None:
    assert {name.replace("-", "_") for name in NAMES} == set(SCORES) == set(MARKS)


@pytest.mark.parametrize("script", scripts())
def test_committed_model_reaches_its_score(script: str) -> None:
    pytest.importorskip(MARKS[script][1])
    score = score_in(RECIPES, script)
    assert score <= SCORES[script] if script in ERRORS else score >= SCORES[script]


@pytest.mark.slow
@pytest.mark.parametrize("script", scripts())
def test_training_again_reproduces_the_score(script: str, tmp_path: Path) -> None:
    pytest.importorskip(MARKS[script][1])
    committed = score_in(RECIPES, script)
    printed = run([sys.executable, "-W", "ignore", f"{script}.py", "--out", str(tmp_path)])
    again = float(re.search(r": test [\w ]+ ([\d.]+)$", printed, re.MULTILINE)[1])  # type: ignore[index]
    assert again == pytest.approx(committed, rel=0.01 if script in ERRORS else 0, abs=0 if script in ERRORS else 0.01)
    for file in (tmp_path / "data").glob("*.npz"):
        with np.load(file) as new, np.load(RECIPES / "data" / file.name) as old:
            assert set(new.files) == set(old.files)
            assert all(np.array_equal(new[name], old[name]) for name in new.files)
