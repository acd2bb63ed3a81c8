"""Every kind of data, from file or loader to calls: cutting, casting, labels, and what is refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy
from safetensors.numpy import save_file

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.cut import Piece, Prepared
from onnxbuild.data.fit import Declared
from onnxbuild.data.read import prepare
from onnxbuild.recipe.types import Axis, FileData, Function, Input, LoaderData, RandomData

X = Input(name="x", dtype="float32", shape=("batch", 3))
BATCH = {"batch": Axis(8)}


def read(
    file: Path,
    inputs: tuple[Input, ...] = (X,),
    axes: dict[str, Axis] | None = None,
    labels: str | None = None,
    samples: int | None = None,
) -> tuple[Prepared, list[Piece]]:
    data = LoaderData(Function(file.name, "load")) if file.suffix == ".py" else FileData(file.name)
    prepared = prepare(data, file, Declared(inputs, BATCH if axes is None else axes), labels, samples)
    return prepared, list(prepared.pieces)


def npz(folder: Path, **arrays: object) -> Path:
    file = folder / "data.npz"
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file


def loader(folder: Path, body: str) -> Path:
    file = folder / "load_data.py"
    file.write_text("import numpy as np\n" + body)
    return file


def sizes(pieces: list[Piece], name: str = "x") -> list[int]:
    return [piece.call[name].shape[0] for piece in pieces]


def failure(code: str, file: Path, *words: str, **options: object) -> StageFailure:
    with pytest.raises(StageFailure) as caught:
        read(file, **options)  # type: ignore[arg-type]
    assert caught.value.code == code
    for word in words:
        assert word in caught.value.message
    return caught.value


# Cutting.


def test_rows_are_cut_to_the_axis_maximum(tmp_path: Path) -> None:
    x = np.arange(60, dtype=np.float32).reshape(20, 3)
    prepared, pieces = read(npz(tmp_path, x=x, labels=np.arange(20)), labels="labels")
    assert sizes(pieces) == [8, 8, 4]
    assert prepared.dropped == 0
    np.testing.assert_array_equal(np.concatenate([p.call["x"] for p in pieces]), x)
    assert [p.labels.tolist() for p in pieces if p.labels is not None][2] == [16, 17, 18, 19]
    assert prepared.probe is not None
    assert [call["x"].shape[0] for call in prepared.probe] == [1, 2, 4]


@pytest.mark.parametrize(
    ("axis", "rows", "cut", "dropped"),
    [
        (Axis(8, 4), 19, [8, 8], 3),
        (Axis(100, 1, 8), 45, [40], 5),
        (Axis(20, 3, 8), 45, [16, 16, 8], 5),
        (Axis(1000), 600, [256, 256, 88], 0),
        (Axis(1000, 400), 900, [400, 400], 100),
    ],
)
def test_cuts_respect_the_declared_axis(tmp_path: Path, axis: Axis, rows: int, cut: list[int], dropped: int) -> None:
    prepared, pieces = read(npz(tmp_path, x=np.zeros((rows, 3), np.float32)), axes={"batch": axis})
    assert sizes(pieces) == cut
    assert prepared.dropped == dropped


def test_large_rows_make_small_calls(tmp_path: Path) -> None:
    wide = Input(name="x", dtype="float32", shape=("batch", 1_000_000))
    _, pieces = read(npz(tmp_path, x=np.zeros((9, 1_000_000), np.float32)), (wide,), {"batch": Axis(1000)})
    assert sizes(pieces) == [4, 4, 1]


def test_a_fixed_axis_takes_exactly_its_rows(tmp_path: Path) -> None:
    fixed = Input(name="x", dtype="float32", shape=(4, 3))
    prepared, pieces = read(npz(tmp_path, x=np.zeros((10, 3), np.float32)), (fixed,))
    assert sizes(pieces) == [4, 4]
    assert prepared.dropped == 2


def test_too_few_rows_fail(tmp_path: Path) -> None:
    file = npz(tmp_path, x=np.zeros((3, 3), np.float32))
    failure("data-does-not-fit", file, "3 rows", "'batch' is declared 4 to 8", axes={"batch": Axis(8, 4)})


def test_one_rank_more_is_one_call_a_row(tmp_path: Path) -> None:
    x = np.arange(30, dtype=np.float32).reshape(5, 2, 3)
    _, pieces = read(npz(tmp_path, x=x, labels=np.arange(5)), labels="labels", samples=3)
    assert [p.call["x"].shape for p in pieces] == [(2, 3)] * 3
    assert [p.samples for p in pieces] == [1, 1, 1]
    assert [int(p.labels) for p in pieces if p.labels is not None] == [0, 1, 2]


def test_ranks_must_agree_across_inputs(tmp_path: Path) -> None:
    inputs = (X, Input(name="y", dtype="float32", shape=("batch",)))
    file = npz(tmp_path, x=np.zeros((4, 3), np.float32), y=np.zeros((4, 2), np.float32))
    failure("data-does-not-fit", file, "some of one more", inputs=inputs)


def test_a_scalar_input_is_the_same_for_all_calls(tmp_path: Path) -> None:
    inputs = (X, Input(name="scale", dtype="float32", shape=()))
    _, pieces = read(npz(tmp_path, x=np.zeros((10, 3), np.float32), scale=np.float32(2.5)), inputs)
    assert [(p.call["x"].shape, float(p.call["scale"])) for p in pieces] == [((8, 3), 2.5), ((2, 3), 2.5)]


def test_an_axis_that_recurs_fixes_the_call(tmp_path: Path) -> None:
    square = Input(name="x", dtype="float32", shape=("n", "n"))
    _, pieces = read(npz(tmp_path, x=np.zeros((10, 5), np.float32)), (square,), {"n": Axis(8)})
    assert [p.call["x"].shape for p in pieces] == [(5, 5), (5, 5)]


def test_samples_are_the_first_rows(tmp_path: Path) -> None:
    x = np.arange(60, dtype=np.float32).reshape(20, 3)
    _, pieces = read(npz(tmp_path, x=x), samples=10)
    assert sizes(pieces) == [8, 2]
    assert pieces[0].call["x"][0, 0] == 0


def test_rows_must_agree(tmp_path: Path) -> None:
    file = npz(tmp_path, x=np.zeros((4, 3), np.float32), labels=np.zeros(5))
    failure("data-does-not-fit", file, "'x' has 4", "'labels' has 5", labels="labels")


def test_no_rows_fail(tmp_path: Path) -> None:
    failure("data-is-empty", npz(tmp_path, x=np.zeros((0, 3), np.float32)))


def test_wrong_dim_names_array_expected_and_found(tmp_path: Path) -> None:
    file = npz(tmp_path, x=np.zeros((4, 7), np.float32))
    failure("data-does-not-fit", file, "'x'", "float32[4, 7]", "float32[batch, 3]")


def test_dynamic_dim_out_of_range_is_refused(tmp_path: Path) -> None:
    ids = Input(name="ids", dtype="int64", shape=("batch", "seq"))
    axes = {"batch": Axis(8), "seq": Axis(16, 1, 4)}
    file = npz(tmp_path, ids=np.zeros((4, 18), np.int64))
    failure("data-does-not-fit", file, "18 along 'seq'", "1 to 16 in steps of 4", inputs=(ids,), axes=axes)


def test_dynamic_dims_must_agree_across_inputs(tmp_path: Path) -> None:
    inputs = tuple(Input(name=n, dtype="int64", shape=("batch", "seq")) for n in ("ids", "mask"))
    file = npz(tmp_path, ids=np.zeros((4, 6), np.int64), mask=np.zeros((4, 5), np.int64))
    failure(
        "data-does-not-fit", file, "5 along 'seq', which is 6 in 'ids'", inputs=inputs, axes={**BATCH, "seq": Axis(9)}
    )


def test_missing_array_suggests_the_nearest(tmp_path: Path) -> None:
    inputs = (Input(name="image", dtype="float32", shape=("batch", 3)),)
    caught = failure("data-lacks-array", npz(tmp_path, images=np.zeros((2, 3))), "'image'", "'images'", inputs=inputs)
    assert caught.hint == "did you mean 'images'?"


def test_missing_labels_fail(tmp_path: Path) -> None:
    failure("data-lacks-array", npz(tmp_path, x=np.zeros((2, 3))), "'labels'", labels="labels")


# Casting.


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.array([0.1, np.nan, -np.inf]), "float32"),
        (np.array([0, 255], np.uint8), "float32"),
        (np.array([-5, 7], np.int64), "int8"),
        (np.array([0, 1], np.int64), "bool"),
        (np.array([True, False]), "int64"),
        (np.array([1.5, 2]), "bfloat16"),
        (np.array(["a", "bc"]), "string"),
        (np.array([b"a", "ü".encode()]), "string"),
    ],
)
def test_safe_casts(tmp_path: Path, array: np.ndarray, dtype: str) -> None:
    _, pieces = read(npz(tmp_path, x=array), (Input(name="x", dtype=dtype, shape=("batch",)),))
    cast = pieces[0].call["x"]
    assert cast.dtype.name == ("object" if dtype == "string" else dtype)
    if dtype != "string":
        np.testing.assert_allclose(cast.astype(np.float64), array.astype(np.float64), rtol=1e-2, equal_nan=True)
    else:
        assert cast.tolist()[1] in ("bc", "ü")


@pytest.mark.parametrize(
    ("array", "dtype", "word"),
    [
        (np.array([1e300]), "float32", "beyond the range"),
        (np.array([(1 << 24) + 1]), "float32", "exactly"),
        (np.array([128]), "int8", "127"),
        (np.array([-1]), "uint8", "-1"),
        (np.array([1.0]), "int64", "without loss"),
        (np.array([2]), "bool", "2"),
        (np.array(["1"]), "float32", "without loss"),
        (np.array([1]), "string", "strings are declared"),
        (np.array([1j]), "float32", "complex128"),
    ],
)
def test_unsafe_casts_are_refused(tmp_path: Path, array: np.ndarray, dtype: str, word: str) -> None:
    inputs = (Input(name="x", dtype=dtype, shape=("batch",)),)
    failure("data-does-not-fit", npz(tmp_path, x=array), "'x'", word, inputs=inputs)


def test_a_column_fits_an_input_of_one_column(tmp_path: Path) -> None:
    _, pieces = read(npz(tmp_path, x=np.arange(5.0)), (Input(name="x", dtype="float32", shape=("batch", 1)),))
    assert pieces[0].call["x"].tolist() == [[0], [1], [2], [3], [4]]


# Files.


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    failure("data-unreadable", npz(tmp_path, x=np.array([{"a": 1}], object)), "pickle is never loaded")


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    file, member = tmp_path / "data.npz", io.BytesIO()
    npy.write_array_header_2_0(member, {"shape": (10**12, 3), "fortran_order": False, "descr": "<f4"})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", member.getvalue() + bytes(24))
    failure("data-unreadable", file, "data.npz", "[1000000000000, 3], more than")


def test_a_broken_zip_is_unreadable(tmp_path: Path) -> None:
    file = tmp_path / "data.npz"
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    failure("data-unreadable", file, "data.npz")


def test_safetensors(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    save_file({"x": x, "labels": np.arange(4)}, tmp_path / "d.safetensors")
    _, pieces = read(tmp_path / "d.safetensors", labels="labels")
    np.testing.assert_array_equal(pieces[0].call["x"], x)
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 20)
    failure("data-unreadable", tmp_path / "bad.safetensors", "bad.safetensors")


TABLE = (
    Input(name="age", dtype="float32", shape=("batch", 1)),
    Input(name="rooms", dtype="int64", shape=("batch", 1)),
    Input(name="city", dtype="string", shape=("batch", 1)),
    Input(name="new", dtype="bool", shape=("batch",)),
)


def test_csv_columns_by_declared_dtype(tmp_path: Path) -> None:
    file = tmp_path / "d.csv"
    file.write_text(
        '\ufeffcity,age,rooms,new,label,extra\n"Ulm, Süd",1.5,3,true,0,q\n,,4,0,1,q\nNA,nan,5,False,1,q\n\n'
    )
    _, pieces = read(file, TABLE, labels="label")
    call = pieces[0].call
    assert call["city"].tolist() == [["Ulm, Süd"], [""], ["NA"]]
    assert call["rooms"].tolist() == [[3], [4], [5]]
    assert call["new"].tolist() == [True, False, False]
    assert call["age"].dtype == np.float32
    assert np.isnan(call["age"][:, 0]).tolist() == [False, True, True]
    assert pieces[0].labels is not None
    assert (pieces[0].labels.dtype.name, pieces[0].labels.tolist()) == ("int64", [0, 1, 1])


@pytest.mark.parametrize(
    ("cells", "dtype"), [("1\n2.5", "float64"), ("1\n", "int64"), ("1\nb", "object"), ("1_0\n2", "object")]
)
def test_csv_labels_have_the_narrowest_dtype(tmp_path: Path, cells: str, dtype: str) -> None:
    lines = [f"1,{cell}" for cell in cells.split("\n") if cell]
    (tmp_path / "d.csv").write_text("\n".join(["x,y", *lines]))
    _, pieces = read(tmp_path / "d.csv", (Input(name="x", dtype="float32", shape=("batch",)),), labels="y")
    assert pieces[0].labels is not None
    assert pieces[0].labels.dtype == dtype


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", "data-unreadable", ["empty"]),
        ("x,x\n1,2\n", "data-unreadable", ["x twice"]),
        ("x,y\n1\n", "data-unreadable", ["line 2 has 1 cells"]),
        ("x\n1\nfoo\n", "data-does-not-fit", ["row 2", "'x'", "'foo' is not an integer"]),
        ("x,y\n1,1\n,1\n", "data-does-not-fit", ["row 2", "empty"]),
        ("x\n99999999999999999999\n", "data-does-not-fit", ["not an integer"]),
        ("x\n", "data-is-empty", []),
        ("y\n1\n", "data-lacks-array", ["'x'", "'y'"]),
    ],
)
def test_csv_problems_are_named(tmp_path: Path, text: str, code: str, words: list[str]) -> None:
    (tmp_path / "d.csv").write_text(text)
    failure(code, tmp_path / "d.csv", *words, inputs=(Input(name="x", dtype="int64", shape=("batch",)),))


def test_csv_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes(b"x\n\xff\xfe\n")
    failure("data-unreadable", tmp_path / "d.csv", "utf-8")


@pytest.mark.sklearn
def test_parquet_columns(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "age": pyarrow.array([1, None, 3]),
        "rooms": pyarrow.array([1, 2, 3]),
        "city": pyarrow.array(["a", None, "b"]).dictionary_encode(),
        "new": pyarrow.array([True, False, True]),
        "x": pyarrow.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]),
        "ragged": pyarrow.array([[1.0], [4, 5, 6], [7, 8, 9]]),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "d.parquet")
    declared = Declared((*TABLE, X), BATCH)
    pieces = list(prepare(FileData("d.parquet"), tmp_path / "d.parquet", declared).pieces)
    call = pieces[0].call
    assert call["city"].tolist() == [["a"], [""], ["b"]]
    assert declared.missing == {"city": 1}
    assert np.isnan(call["age"][:, 0]).tolist() == [False, True, False]
    assert call["x"].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    ragged = (Input(name="ragged", dtype="float32", shape=("batch", 3)),)
    failure("data-does-not-fit", tmp_path / "d.parquet", "differing lengths", inputs=ragged)
    counted = (Input(name="age", dtype="int64", shape=("batch",)),)
    failure("data-does-not-fit", tmp_path / "d.parquet", "'age'", inputs=counted)


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "d.parquet").write_bytes(b"")
    caught = failure("missing-extra", tmp_path / "d.parquet", "pyarrow")
    assert caught.hint == "pip install 'onnxbuild[sklearn]'"


def test_folder_of_npz_is_one_call_each_by_name(tmp_path: Path) -> None:
    for n, rows in (("b", 2), ("a", 1), ("c", 8)):
        np.savez(tmp_path / f"{n}.npz", x=np.full((rows, 3), ord(n), np.float32), labels=np.full(rows, ord(n)))
    (tmp_path / "notes.txt").write_text("no data")
    _, pieces = read(tmp_path, labels="labels", samples=6)
    assert [int(p.call["x"][0, 0]) for p in pieces] == [ord("a"), ord("b"), ord("c")]
    assert sizes(pieces) == [1, 2, 3]  # the last is shortened to six samples
    np.savez(tmp_path / "d.npz", x=np.zeros((9, 3), np.float32))
    failure("data-does-not-fit", tmp_path, "d.npz: 'x'", "9 along 'batch'")


def test_empty_folder_fails(tmp_path: Path) -> None:
    failure("data-is-empty", tmp_path, "no .npz")


# Loaders.


def test_loader_of_arrays(tmp_path: Path) -> None:
    file = loader(tmp_path, "def load(): return {'x': [[1, 2, 3]] * 10, 'labels': list('ab') * 5}")
    _, pieces = read(file, labels="labels")
    assert sizes(pieces) == [8, 2]


def test_loader_of_calls_stops_in_time(tmp_path: Path) -> None:
    body = "def load():\n    while True:\n        yield {'x': np.ones((4, 3), np.float32)}"
    _, pieces = read(loader(tmp_path, body), samples=10)
    assert sizes(pieces) == [4, 4, 4]  # without labels calls stay whole


def test_labels_that_are_no_rows_count_samples(tmp_path: Path) -> None:
    body = "def load():\n    for i in range(5):\n        yield {'x': np.ones((4, 3), np.float32), 'labels': i}"
    _, pieces = read(loader(tmp_path, body), labels="labels", samples=2)
    assert [p.samples for p in pieces] == [1, 1]


@pytest.mark.parametrize("body", ["return 5", "return 'abc'", "return np.ones(3)", "return [np.ones(3)]"])
def test_loader_of_something_else(tmp_path: Path, body: str) -> None:
    failure("loader-result", loader(tmp_path, f"def load(): {body}"), "mapping of arrays")


@pytest.mark.parametrize("body", ["    1 / 0", "    yield {'x': np.ones((1, 3))}\n    1 / 0"])
def test_loader_that_raises_shows_the_users_traceback(tmp_path: Path, body: str) -> None:
    caught = failure("user-code", loader(tmp_path, f"def load():\n{body}"), "ZeroDivisionError")
    assert caught.traceback is not None
    assert "load_data.py" in caught.traceback
    assert "onnxbuild" not in caught.traceback.replace(str(tmp_path), "")


# Generated.


def generated(inputs: tuple[Input, ...], axes: dict[str, Axis], samples: int = 20, seed: int = 0) -> list[Piece]:
    return list(prepare(RandomData(seed, samples), None, Declared(inputs, axes)).pieces)


def test_random_data_holds_the_samples_at_several_sizes() -> None:
    ids = Input(name="ids", dtype="int64", shape=("batch", "seq"), range=(0, 30521))
    pieces = generated((ids,), {"batch": Axis(8), "seq": Axis(64, 2, 2)})
    shapes = [p.call["ids"].shape for p in pieces]
    assert sum(p.samples for p in pieces) == 20
    assert [rows for rows, _ in shapes] == [1, 4, 8, 7]
    assert {seq for _, seq in shapes} == {2, 32, 64}
    values = np.concatenate([p.call["ids"].ravel() for p in pieces])
    assert values.min() >= 0
    assert 20000 < values.max() <= 30521


def test_random_data_is_seeded_and_in_range() -> None:
    x = Input(name="x", dtype="float16", shape=("batch", 50), range=(-2, 3))
    first, again, other = (generated((x,), BATCH, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a.call["x"], b.call["x"]) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].call["x"], other[0].call["x"])
    values = np.concatenate([p.call["x"] for p in first])
    assert -2 <= values.min() < -1.5
    assert 2.5 < values.max() <= 3


def test_random_defaults() -> None:
    inputs = tuple(Input(name=d, dtype=d, shape=(1, 1000)) for d in ("float32", "int32", "bool", "uint8"))
    pieces = generated(inputs, {}, samples=3)
    assert len(pieces) == 3
    call = pieces[0].call
    assert abs(float(call["float32"].std()) - 1) < 0.1
    assert {name: array.dtype.name for name, array in call.items()} == {i.name: i.dtype for i in inputs}
    assert set(call["int32"].ravel().tolist()) == {0, 1}


def test_random_strings_and_labels_are_refused() -> None:
    text = Input(name="t", dtype="string", shape=("batch",))
    with pytest.raises(StageFailure, match="no strings"):
        generated((text,), BATCH)
    with pytest.raises(StageFailure, match="no labels"):
        prepare(RandomData(), None, Declared((X,), BATCH), "labels")
