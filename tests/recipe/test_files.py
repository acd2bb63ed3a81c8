from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest

from onnxbuild.recipe.checks.files import digest_of
from tests.recipe.builder import SMALLEST, ProjectFiles

FACTORY = "{framework: torch, factory: models/net.py:build}"


def source(project: ProjectFiles, text: str) -> None:
    project.recipe(SMALLEST.replace(FACTORY, text))


@pytest.mark.parametrize(
    ("text", "code", "column"),
    [
        ("{framework: onnx, path: none.onnx}", "missing-path", 25),
        ("{framework: onnx, path: https://x.org/m.onnx}", "url-as-path", 25),
        ("{framework: onnx, path: s3://bucket/m.onnx}", "url-as-path", 25),
        ("{framework: onnx, path: /m.onnx}", "absolute-path", 25),
        ("{framework: onnx, path: ~/m.onnx}", "absolute-path", 25),
        ("{framework: onnx, path: 'C:\\m.onnx'}", "absolute-path", 25),
        ("{framework: onnx, path: lfs.onnx}", "git-lfs-pointer", 25),
        ("{framework: onnx, path: folder.onnx}", "wrong-kind", 25),
        ("{framework: onnx, path: empty.onnx}", "empty-file", 25),
        ("{framework: tensorflow, path: models}", "wrong-kind", 31),
        ("{framework: torch, factory: models/none.py:build}", "missing-path", 29),
        ("{framework: torch, factory: models/net.py:biuld}", "missing-function", 29),
        ("{framework: torch, factory: models/net.py:build, weights: lfs.pt}", "git-lfs-pointer", 59),
        ("{framework: torch, factory: models/net.py:build, reads: [none/*.json]}", "missing-path", 58),
        ("{framework: torch, factory: models/net.py:build, reads: [/etc/*]}", "absolute-path", 58),
    ],
)
def test_paths_of_a_source(project: ProjectFiles, text: str, code: str, column: int):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
    project.write("recipes/lfs.onnx", pointer)
    project.write("recipes/lfs.pt", pointer)
    project.write("recipes/empty.onnx", b"")
    project.write("recipes/folder.onnx/x", b"")
    source(project, text)
    assert project.places() == [(code, 2, column + 8)]


def test_hints_name_the_mend(project: ProjectFiles):
    project.write("recipes/digits.onnx", b"x")
    source(project, "{framework: onnx, path: digts.onnx}")
    assert project.only().hint == "did you mean 'digits.onnx'?"
    project.write("recipes/digits.onnx", b"version https://git-lfs.github.com/spec/v1\n")
    source(project, "{framework: onnx, path: digits.onnx}")
    assert project.only().hint == "git lfs pull"
    source(project, "{framework: torch, factory: models/net.py:biuld}")
    assert project.only().hint == "did you mean 'build'?"


def test_a_pin_that_does_not_match_shows_the_digest_there_is(project: ProjectFiles):
    project.write("recipes/m.onnx", b"model")
    source(project, f"{{framework: onnx, path: m.onnx, sha256: {'0' * 64}}}")
    found = project.only()
    digest = hashlib.sha256(b"model").hexdigest()
    assert (found.code, found.place.column if found.place else 0) == ("wrong-digest", 49)
    assert digest in (found.hint or "")
    source(project, f"{{framework: onnx, path: m.onnx, sha256: {digest}}}")
    assert project.found() == []


def test_a_trusted_and_pinned_pickle_is_legal(project: ProjectFiles):
    file = project.write("recipes/m.joblib", b"pickle")
    source(project, f"{{framework: sklearn, path: m.joblib, trust: pickle, sha256: {digest_of(file)}}}")
    assert project.found() == []
    source(project, f"{{framework: sklearn, path: m.joblib, sha256: {digest_of(file)}}}")
    assert project.only().hint == "add `trust: pickle` under `source`"


def test_a_folder_has_a_digest_of_names_and_content(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "a").write_text("1")
    assert digest_of(tmp_path / "one") == digest_of(tmp_path / "two")
    (tmp_path / "two" / "sub" / "a").rename(tmp_path / "two" / "sub" / "b")
    assert digest_of(tmp_path / "one") != digest_of(tmp_path / "two")


@pytest.mark.parametrize(
    "text",
    [
        "class build: ...", "build = make()", "build: object = 1", "from x import build", "from x import y as build",
        "import build", "from x import *", "if 1:\n    build = 2\nelse:\n    pass",
        "try:\n    import build\nexcept E:\n    pass",
        "a, (build, *c) = x", "with x as build:\n    pass", "for build in x:\n    pass", "async def build(): ...",
        "if (build := 3):\n    pass", "def __getattr__(name): ...", "globals()['build'] = 1",
        "match x:\n    case 1:\n        def build(): ...",
    ],
)  # fmt: skip
def test_ways_to_define_a_function(project: ProjectFiles, text: str):
    project.write("recipes/models/net.py", text + "\n")
    source(project, FACTORY)
    assert project.found() == []


def test_a_name_inside_a_function_does_not_count(project: ProjectFiles):
    project.write("recipes/models/net.py", "def outer():\n    def build(): ...\nclass A:\n    build = 1\n")
    source(project, FACTORY)
    assert [d.code for d in project.found()] == ["missing-function"]


def test_python_that_cannot_be_read_is_shown_in_its_own_file(project: ProjectFiles):
    project.write("recipes/models/net.py", "x = 1\ndef build(:\n    pass\n")
    source(project, FACTORY)
    found = project.only()
    assert (found.code, str(found.place), found.context) == (
        "python-syntax", "recipes/models/net.py:2:11", "def build(:",
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "passes:\n  - custom: {function: passes/mine.py:run}",
        "calibration: {data: {loader: passes/mine.py:run}}",
        "evaluation: {data: {loader: passes/mine.py:run}}",
        "evaluation: {data: {loader: models/net.py:build}, metric: {custom: passes/mine.py:run}}",
    ],
)
def test_every_function_is_looked_for(project: ProjectFiles, text: str):
    project.extend(text)
    assert [d.code for d in project.found()] == ["missing-path"]
    project.write("recipes/passes/mine.py", "def other(): ...\n")
    assert [d.code for d in project.found()] == ["missing-function"]
    project.write("recipes/passes/mine.py", "def run(): ...\n")
    assert project.found() == []


def test_user_code_is_never_run(project: ProjectFiles):
    mark = project.root / "ran"
    code = f"import pathlib\npathlib.Path({str(mark)!r}).write_text('')\ndef build(): ...\n"
    project.write("recipes/models/net.py", code)
    source(project, FACTORY)
    assert project.found() == []
    assert not mark.exists()


def npz(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


X = np.ones((6, 10), np.float32)
NAN = X.copy()
NAN[4, 3] = np.nan
LABELS = np.arange(6)
EVALUATION = "evaluation: {data: d.npz, metric: accuracy}\n"


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (npz(z=X, labels=LABELS), "data-input-missing", "no array for the input 'x'"),
        (npz(x=X), "labels-missing", "no labels 'labels'"),
        (npz(x=X, labels=LABELS[:5]), "data-length", "6 rows, but 5 labels"),
        (npz(x=NAN, labels=LABELS), "nan-in-data", "first in row 4"),
        (npz(x=np.asfortranarray(NAN), labels=LABELS), "nan-in-data", "first in row 4"),
        (npz(x=NAN.astype(">f8"), labels=LABELS), "nan-in-data", "first in row 4"),
        (npz(x=NAN.astype(np.float16), labels=LABELS), "nan-in-data", "first in row 4"),
        (npz(x=X, labels=NAN[:, 3]), "nan-in-data", "'labels' holds NaN, first in row 4"),
        (npz(x=X[:, :9], labels=LABELS), "data-shape", "9 where it says 10"),
        (npz(x=X[0], labels=LABELS), "data-shape", "the rank must be 2, or 3"),
        (npz(x=X[:0], labels=LABELS[:0]), "data-empty", "no rows"),
        (npz(x=np.ones((6, 65, 10), np.float32), labels=LABELS), "data-shape", "'batch' may be 1 to 64, not 65"),
        (npz(x=X.astype(str), labels=LABELS), "data-dtype", "holds string"),
        (npz(x=X.astype(complex), labels=LABELS), "unreadable-data", "dtype <c16"),
        (npz(x=np.array([{}] * 6, object), labels=LABELS), "pickle-in-data", "reading them runs code"),
        (b"not a zip", "unreadable-data", "cannot be read"),
        (npz(x=X, labels=LABELS)[:200], "unreadable-data", "cannot be read"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs-pointer", "Git LFS pointer"),
    ],
)
def test_npz_data(project: ProjectFiles, data: bytes, code: str, words: str):
    project.write("recipes/d.npz", data)
    project.extend(EVALUATION)
    found = project.only()
    assert (found.code, str(found.place)) == (code, "recipes/a.yaml:6:20")
    assert words in found.message


@pytest.mark.parametrize(
    "data",
    [
        npz(x=X, labels=LABELS), npz(x=X[:, None], labels=LABELS), npz(x=X.astype(np.int64), labels=LABELS.astype(str)),
        npz(x=X.astype(np.float64), labels=LABELS, extra=np.array(["a"])),
    ],
)  # fmt: skip
def test_npz_data_that_fits(project: ProjectFiles, data: bytes):
    project.write("recipes/d.npz", data)
    project.extend(EVALUATION)
    assert project.found() == []


def test_labels_are_looked_for_under_their_name(project: ProjectFiles):
    project.write("recipes/d.npz", npz(x=X, target=LABELS))
    project.extend("evaluation: {data: d.npz, metric: accuracy, labels: targt}\n")
    found = project.only()
    assert (found.code, str(found.place), found.hint) == (
        "labels-missing", "recipes/a.yaml:6:53", "did you mean 'target'?",
    )  # fmt: skip


def test_missing_values_are_legal_for_sklearn_only(project: ProjectFiles):
    project.write("recipes/d.npz", npz(x=NAN, labels=LABELS))
    project.recipe(SMALLEST.replace("torch", "sklearn") + EVALUATION)
    assert project.found() == []


def test_safetensors_data(project: ProjectFiles):
    from safetensors.numpy import save

    project.extend("calibration: {data: d.safetensors}\n")
    project.write("recipes/d.safetensors", save({"x": X}))
    assert project.found() == []
    project.write("recipes/d.safetensors", save({"x": NAN}))
    assert [d.code for d in project.found()] == ["nan-in-data"]
    project.write("recipes/d.safetensors", save({"x": X})[:-4])
    assert [d.code for d in project.found()] == ["unreadable-data"]
    project.write("recipes/d.safetensors", b"\xff" * 40)
    assert [d.code for d in project.found()] == ["unreadable-data"]


def test_bfloat16_is_searched_for_nan_too(project: ProjectFiles):
    import ml_dtypes
    from safetensors.numpy import save

    project.recipe(SMALLEST.replace("float32", "bfloat16") + "calibration: {data: d.safetensors}\n")
    for array, codes in ((X, []), (NAN, ["nan-in-data"])):
        project.write("recipes/d.safetensors", save({"x": array.astype(ml_dtypes.bfloat16)}))
        assert [d.code for d in project.found()] == codes


def test_a_folder_of_npz(project: ProjectFiles):
    project.extend("calibration: {data: calls}\n")
    (project.root / "recipes/calls").mkdir()
    assert [d.code for d in project.found()] == ["data-empty"]
    project.write("recipes/calls/0.npz", npz(x=X))
    assert project.found() == []
    project.write("recipes/calls/1.npz", npz(x=NAN))
    assert project.only().message.startswith("'calls': 1.npz: 'x' holds NaN")


COLUMNS = SMALLEST.replace("x: {dtype: float32, shape: [batch, 10]}", "a: {dtype: float32, shape: [batch, 1]}, "
                           "b: {dtype: string, shape: [batch, 1]}")  # fmt: skip


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        ("a,b,labels\n1.5,x,0\n2,y,1\n", []),
        ("a,b\n1,x\n", ["labels-missing"]),
        ("a,labels\n1,0\n", ["data-input-missing"]),
        ("a,b,labels\n1,x,0\n,y,1\n", ["nan-in-data"]),
        ("a,b,labels\nNaN,x,0\n", ["nan-in-data"]),
        ("a,b,labels\n1,x,\n", ["nan-in-data"]),
        ("a,b,labels\none,x,0\n", ["data-dtype"]),
        ("a,b,labels\n1,x\n", ["unreadable-data"]),
        ("a,b,labels\n", ["data-empty", "data-empty"]),
        ("", ["data-empty"]),
    ],
)
def test_csv_data(project: ProjectFiles, data: str, codes: list[str]):
    project.write("recipes/d.csv", data)
    project.recipe(COLUMNS + "evaluation: {data: d.csv, metric: accuracy}\n")
    assert [d.code for d in project.found()] == codes


def test_a_column_is_one_value_a_row(project: ProjectFiles):
    project.write("recipes/d.csv", "x\n1\n")
    project.extend("calibration: {data: d.csv}\n")
    assert [d.code for d in project.found()] == ["data-shape"]


def test_parquet_data(project: ProjectFiles):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    project.recipe(COLUMNS + "evaluation: {data: d.parquet, metric: accuracy}\n")
    (project.root / "recipes").mkdir(exist_ok=True)
    for a, codes in (([1.5, 2.0], []), ([1.5, None], ["nan-in-data"]), (["x", "y"], ["data-dtype"])):
        parquet.write_table(pa.table({"a": a, "b": ["x", "y"], "labels": [0, 1]}), project.root / "recipes/d.parquet")
        assert [d.code for d in project.found()] == codes
    project.write("recipes/d.parquet", b"PAR1 no")
    assert [d.code for d in project.found()] == ["unreadable-data"]


def test_data_of_an_unknown_kind(project: ProjectFiles):
    project.write("recipes/d.txt", "x")
    project.extend("calibration: {data: d.txt}\n")
    assert [d.code for d in project.found()] == ["wrong-extension"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(project: ProjectFiles):
    project.extend("calibration: {data: d.npz}\n")
    project.write("recipes/d.npz", npz(x=X)).chmod(0)
    assert [d.code for d in project.found()] == ["unreadable-data"]
