from __future__ import annotations

import pytest

from tests.recipe.builder import SMALLEST, ProjectFiles


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "words"),
    [
        ("opset: 17.0", "wrong-type", 6, 8, "`opset` must be a whole number, not the number 17.0"),
        ("opset: '20'", "wrong-type", 6, 8, "not the text '20'"),
        ("opset: [20]", "wrong-type", 6, 8, "not a list"),
        ("opset: true", "wrong-type", 6, 8, "not true"),
        ("strict_reads: yes", "wrong-type", 6, 15, "must be true or false, not the text 'yes'"),
        ("quantization: dynamic", "wrong-type", 6, 15, "`quantization` must be a mapping with keys of mode"),
        ("quantization: {mode: dynamik}", "wrong-value", 6, 22, "one of auto, dynamic, float16, int4, none, static"),
        ("quantization: {mode: int4, block_size: 33}", "wrong-value", 6, 40, "one of 16, 32, 64, 128, 256"),
        ("pruning: {method: magnitude, sparsity: 1.5}", "wrong-value", 6, 40, "a number from 0 to 1"),
        ("pruning: {method: 2of4}", "wrong-value", 6, 19, "a pair such as '2:4'"),
        ("pruning: {method: '4:2'}", "wrong-value", 6, 19, "n must be less than m"),
        ("tolerance: {outputs: {y: {share: lots}}}", "wrong-value", 6, 34, "a share such as '99%'"),
        ("tolerance: {outputs: {y: {atol: -1}}}", "wrong-value", 6, 33, "a number of at least 0"),
        ("tolerance: {outputs: {y: {cosine: 2}}}", "wrong-value", 6, 35, "from -1 to 1"),
        ("tolerance: {outputs: {y: {argmax_agreement: 99}}}", "wrong-value", 6, 45, "from 0 to 1"),
        ("tolerance: {metric: {at_least: 99 of source}}", "wrong-value", 6, 32, "'99% of source'"),
        ("tolerance: {metric: 0.9}", "wrong-type", 6, 21, "at_least, at_most, max_drop"),
        ("gates: {size: {at_most: 2}}", "wrong-type", 6, 25, "a size such as '2 MB'"),
        ("gates: {size: {at_most: 2 MiB}}", "wrong-value", 6, 25, "a size such as '2 MB'"),
        ("gates: {size: {at_most: 30% of Index}}", "wrong-value", 6, 25, "a size such as"),
        ("passes: {onnxslim: default}", "wrong-type", 6, 9, "must be a list"),
        ("passes: [onnxslim]", "wrong-type", 6, 10, "`passes.0` must be a mapping with keys of onnxscript"),
        ("passes:\n  - onnxslim: default\n    onnxruntime: basic", "wrong-value", 7, 5, "exactly one pass"),
        ("passes:\n  - {}", "wrong-value", 7, 5, "exactly one pass"),
        ("passes:\n  - onnxruntime: best", "wrong-value", 7, 18, "one of all, basic, extended"),
        ("passes:\n  - custom: models/net.py:build", "wrong-type", 7, 13, "keys of function, args"),
        ("session: {graph_optimization: most}", "wrong-value", 6, 31, "one of all, basic, disable, extended"),
        ("providers: {gpu: {}}", "wrong-name", 6, 13, "a key of `providers` must be an execution provider (cpu, cuda"),
        ("variants: {Int8: {}}", "wrong-name", 6, 12, "a name of a-z"),
        ("variants: {index: {}}", "wrong-name", 6, 12, "not 'index'"),
        ("name: Upper Case", "wrong-value", 6, 7, "a name of a-z"),
        ("name: index", "wrong-value", 6, 7, "not 'index'"),
        ("evaluation: {data: {loader: data/load.txt:f}}", "wrong-value", 6, 29, "a function, written file.py:name"),
        ("evaluation: {data: {loader: https://x.org/a.py:f}}", "url-as-path", 6, 29, "is a URL"),
        ("evaluation: {data: 5}", "wrong-type", 6, 20, "a text or a mapping with keys of loader"),
        ("evaluation: {data: {}}", "missing-key", 6, 1, "`evaluation` needs `data`"),
        ("evaluation: {data: {random: {}, loader: models/net.py:build}}", "alternatives", 6, 33, "cannot stand beside"),
        ("calibration: {samples: 0, data: {random: {}}}", "wrong-value", 6, 24, "at least 1"),
        ("package: {metadata: {team: [a]}}", "wrong-type", 6, 28, "a text"),
        ("description: ${NAME}\ndynamic: 1", "unknown-key", 7, 1, "unknown key 'dynamic'"),
        ("evaluation: {data: '${DATA}/x.npz'}", "no-variables", 6, 20, "no ${...} variables"),
    ],
)
def test_wrong_values(project: ProjectFiles, text: str, code: str, line: int, column: int, words: str):
    project.recipe(SMALLEST + text)
    first = next(d for d in project.found() if d.code == code)
    assert first.place is not None
    assert (first.place.line, first.place.column) == (line, column)
    assert words in first.message


@pytest.mark.parametrize(
    ("change", "code", "line", "column"),
    [
        (("format: 1", "format: 2"), "wrong-value", 1, 9),
        (("format: 1", "format: 1.0"), "wrong-type", 1, 9),
        (("format: 1", "format: true"), "wrong-type", 1, 9),
        (("format: 1\n", "\n"), "missing-key", 2, 1),
        (("outputs: [y]", "outputs: []"), "missing-key", 1, 1),
        (("outputs: [y]", "outputs: [y, y]"), "duplicate-name", 4, 14),
        (("outputs: [y]", "outputs: [x]"), "duplicate-name", 4, 11),
        (("outputs: [y]", "outputs: [1]"), "wrong-type", 4, 11),
        (("outputs: [y]", "outputs: {y: predict}"), "wrong-value", 4, 11),
        (("outputs: [y]", "outputs: {y: fit}"), "wrong-value", 4, 14),
        (("dtype: float32, ", ""), "missing-key", 3, 10),
        (("shape: [batch, 10]", "range: [0, 1]"), "missing-key", 3, 10),
        (("[batch, 10]", "[batch, -1]"), "wrong-value", 3, 45),
        (("[batch, 10]", "[batch, 1.0]"), "wrong-type", 3, 45),
        (("[batch, 10]", "[batch, two words]"), "wrong-value", 3, 45),
        (("[batch, 10]", "[btch, 10]"), "undeclared-axis", 3, 38),
        (("[batch, 10]", "[3, 10]"), "unused-axis", 5, 16),
        (("{max: 64}", "{min: 4}"), "missing-key", 5, 16),
        (("{max: 64}", "{min: 65, max: 64}"), "wrong-axis", 5, 29),
        (("{max: 64}", "{max: 64, multiple_of: 48}"), "wrong-axis", 5, 29),
        (("{max: 64}", "{min: 8, max: 64, multiple_of: 16}"), "wrong-axis", 5, 29),
        (("[batch, 10]}", "[batch, 10], range: [1, 0]}"), "wrong-range", 3, 57),
        (("[batch, 10]}", "[batch, 10], range: [0]}"), "wrong-value", 3, 57),
        (("float32, shape: [batch, 10]}", "uint8, shape: [batch, 10], range: [0, 256]}"), "wrong-range", 3, 55),
        (("float32, shape: [batch, 10]}", "int64, shape: [batch, 10], range: [0, 0.5]}"), "wrong-range", 3, 55),
        (("float32, shape: [batch, 10]}", "string, shape: [batch, 10], range: [0, 1]}"), "wrong-range", 3, 56),
    ],
)
def test_wrong_basics(project: ProjectFiles, change: tuple[str, str], code: str, line: int, column: int):
    assert change[0] in SMALLEST
    project.recipe(SMALLEST.replace(*change))
    assert (code, line, column) in project.places()


def test_a_negative_size_is_told_about_dynamic_axes(project: ProjectFiles):
    project.recipe(SMALLEST.replace("[batch, 10]", "[-1, 10]").replace("dynamic_axes: {batch: {max: 64}}", ""))
    assert project.only().hint == "name a dynamic axis and declare it under `dynamic_axes`"


def test_a_file_that_is_a_list_is_refused(project: ProjectFiles):
    project.recipe("- a\n- b\n")
    assert project.places() == [("wrong-type", 1, 1)]


def test_null_may_remove_what_this_version_lacks(project: ProjectFiles):
    project.extend("session: {auto: null}\nbenchmark:\n")
    assert project.target().name == "a:default"
