"""Values of the wrong kind whose meaning is plain: the hint is the edit, and never a word that means something else."""

from __future__ import annotations

import pytest

from tests.recipe.builder import SMALLEST, ProjectFiles

CASES = [
    ("quantization: {mode: int8}", "int8 is `mode: dynamic`, or `mode: static` with `calibration`"),
    ("quantization: int8", "int8 is `mode: dynamic`, or `mode: static` with `calibration`"),
    ("quantization: dynamic", "write `quantization: {mode: dynamic}`"),
    ("quantization: {mode: fp16}", "did you mean 'float16'?"),
    ("providers: {gpu: {}}", "did you mean 'cuda'?"),
    ("evaluation: {data: {random: {}}, metric: acc}", "did you mean 'accuracy'?"),
    ("evaluation: {data: {random: {}}, metric: models/net.py:build}", "write `metric: {custom: models/net.py:build}`"),
    ("passes: [{custom: models/net.py:build}]", "write `custom: {function: models/net.py:build}`"),
    ("passes: [onnxslim]", "a pass is written `- onnxslim: default`"),
    ("passes: {onnxslim: default}", "begin each pass with a `-` of its own"),
    ("gates: {size: 4 MB}", "write `size: {at_most: 4 MB}`"),
    ("package: {formats: onnx}", "write `formats: [onnx]`"),
    ("opset: '17'", "write it without quotes"),
]


@pytest.mark.parametrize(("text", "hint"), CASES, ids=[text for text, _ in CASES])
def test_the_hint_is_the_edit(project: ProjectFiles, text: str, hint: str):
    project.extend(text + "\n")
    assert project.only().hint == hint


@pytest.mark.parametrize(
    ("before", "after", "hint"),
    [
        ("outputs: [y]", "outputs: y", "write `outputs: [y]`"),
        ("format: 1", "format: '1'", "write it without quotes"),
        ("{max: 64}", "64", "write `batch: {max: 64}`"),
    ],
)
def test_the_hint_is_the_edit_in_what_every_recipe_has(project: ProjectFiles, before: str, after: str, hint: str):
    project.recipe(SMALLEST.replace(before, after))
    assert project.only().hint == hint


@pytest.mark.parametrize(
    ("before", "after"),
    [("{max: 64}", "hello"), ("{max: 64}", "true"), ("outputs: [y]", "outputs: [y]\nquantization: true")],
)
def test_no_edit_is_made_up(project: ProjectFiles, before: str, after: str):
    project.recipe(SMALLEST.replace(before, after))
    assert project.only().hint is None


@pytest.mark.parametrize("shape", ["[rows]", "[rows, 2, 3]", "[4, rows]", "[4, 4]"])
def test_an_estimator_takes_rows_of_columns(project: ProjectFiles, shape: str):
    text = SMALLEST.replace("framework: torch", "framework: sklearn").replace("batch", "rows")
    text = text.replace("[rows, 10]", shape)
    project.recipe(text if "rows" in shape else text.replace("dynamic_axes: {rows: {max: 64}}\n", ""))
    found = project.only()
    assert (found.code, found.place.line if found.place else 0) == ("wrong-value", 3)
    axis = "rows" if "rows" in shape else "batch"
    assert found.hint == f"shape: [{axis}, 1] for a column of a DataFrame, [{axis}, 10] for a matrix of 10"
