"""The data stage: artifacts, facts and warnings from every kind of data, and the same bytes in another folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxbuild.base.digest import digest_file, list_files
from onnxbuild.data.calls import read_calls
from onnxbuild.data.edges import read_edges
from onnxbuild.recipe.types import Axis, DataSource, FileData, Function, Input, LoaderData, RandomData
from onnxbuild.stages.data import DATA, DataFacts, DataParams
from onnxbuild.stages.stage import Workspace

X = Input(name="x", dtype="float32", shape=("batch", 2))
CITY = Input(name="city", dtype="string", shape=("batch", 1))


def workspace(folder: Path, **files: Path) -> Workspace:
    (folder / "out").mkdir(parents=True, exist_ok=True)
    return Workspace(inputs={}, files=files, out=folder / "out", scratch=folder / "scratch", recipe_folder=folder)


def run(
    work: Workspace,
    data: DataSource,
    inputs: tuple[Input, ...] = (X,),
    axis: Axis = Axis(8),
    labels: str | None = None,
    samples: int | None = None,
) -> DataFacts:
    params = DataParams(data=data, inputs=inputs, axes={"batch": axis}, samples=samples, labels=labels)
    return DATA.run(params, work)


def test_file_with_labels(tmp_path: Path) -> None:
    x = np.arange(40, dtype=np.float64).reshape(20, 2)
    np.savez(tmp_path / "d.npz", x=x, y=np.repeat([0, 1], 10))
    work = workspace(tmp_path, data=tmp_path / "d.npz")
    facts = run(work, FileData("d.npz"), labels="y", samples=15)
    assert facts == DataFacts(calls=2, samples=15, label_counts={"0": 10, "1": 5}, edges=facts.edges)
    assert [edge.name for edge in facts.edges] == ["batch 1", "batch 3", "batch 8"]
    assert [len(call["x"]) for _, call in read_edges(work.out / "edges")] == [1, 3, 8]
    inputs = read_calls(work.out / "inputs")
    assert [call["x"].shape for call in inputs] == [(8, 2), (7, 2)]
    assert inputs[0]["x"].dtype == np.float32
    probe = read_calls(work.out / "probe")
    assert [len(call["x"]) for call in probe] == [1, 2, 4]
    np.testing.assert_array_equal(probe[2]["x"], x[:4])
    assert read_calls(work.out / "labels")[0]["labels"].tolist() == [0] * 10 + [1] * 5
    assert work.warnings == []


def test_rows_and_their_labels_that_fit_no_call_are_dropped_with_a_warning(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((10, 2)), labels=np.arange(10))
    work = workspace(tmp_path, data=tmp_path / "d.npz")
    facts = run(work, FileData("d.npz"), axis=Axis(4, 4), labels="labels")
    assert (facts.calls, facts.samples) == (2, 8)
    assert [(w.code, w.message.split()[0]) for w in work.warnings] == [("rows-dropped", "2")]
    assert len(read_calls(work.out / "labels")[0]["labels"]) == 8


def test_missing_strings_become_empty_with_a_warning(tmp_path: Path) -> None:
    body = "def load():\n    return {'city': ['a', None, float('nan')], 'labels': ['x', None, 'y']}"
    (tmp_path / "load_cities.py").write_text(body)
    work = workspace(tmp_path, loader=tmp_path / "load_cities.py")
    facts = run(work, LoaderData(Function("load_cities.py", "load")), (CITY,), labels="labels")
    assert read_calls(work.out / "inputs")[0]["city"].tolist() == [["a"], [""], [""]]
    assert facts.label_counts == {"": 1, "x": 1, "y": 1}
    assert [w.message for w in work.warnings] == [
        "'city' has 2 missing strings, which became empty ones",
        "'labels' has 1 missing strings, which became empty ones",
    ]


def test_nan_is_data(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,b\n1,2\n,3\n")
    inputs = tuple(Input(name=n, dtype="float32", shape=("batch", 1)) for n in "ab")
    work = workspace(tmp_path, data=tmp_path / "d.csv")
    run(work, FileData("d.csv"), inputs)
    assert np.isnan(read_calls(work.out / "inputs")[0]["a"]).tolist() == [[False], [True]]


def test_without_labels_there_is_no_labels_artifact(tmp_path: Path) -> None:
    work = workspace(tmp_path)
    facts = run(work, RandomData(seed=3, samples=13))
    assert (facts.samples, facts.label_counts) == (13, {})
    assert sorted(p.name for p in work.out.iterdir()) == ["edges", "inputs", "probe"]
    assert [len(call["x"]) for call in read_calls(work.out / "probe")] == [1, 4, 8]


@pytest.mark.parametrize("count", [50, 51])
def test_more_classes_than_fifty_are_not_listed(tmp_path: Path, count: int) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((count, 2)), labels=np.arange(count))
    facts = run(workspace(tmp_path, data=tmp_path / "d.npz"), FileData("d.npz"), labels="labels")
    assert len(facts.label_counts) == (50 if count == 50 else 0)


def test_float_labels_are_no_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 2)), labels=np.ones(3))
    facts = run(workspace(tmp_path, data=tmp_path / "d.npz"), FileData("d.npz"), labels="labels")
    assert facts.label_counts == {}


def test_the_same_data_in_another_folder_is_the_same_bytes(tmp_path: Path) -> None:
    digests = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        work = workspace(folder)
        (folder / "d.csv").write_text("city,label\nUlm,1\nBonn,0\n")
        work.files["data"] = folder / "d.csv"
        run(work, FileData("d.csv"), (CITY,), labels="label")
        run(workspace(folder / "random"), RandomData(seed=1, samples=5))
        outputs = [folder / name for name in list_files(folder) if "/" in name]
        digests.append([(p.relative_to(folder), digest_file(p)) for p in outputs])
    assert digests[0] == digests[1]
    assert len(digests[0]) == 16


def test_the_stage_says_what_it_needs() -> None:
    def params(data: DataSource) -> DataParams:
        return DataParams(data=data, inputs=(X,), axes={}, samples=None, labels=None)

    assert DATA.runs_user_code(params(LoaderData(Function("a.py", "b"))))
    assert not DATA.runs_user_code(params(RandomData()))
    assert "pyarrow" in DATA.packages(params(FileData("a/b.parquet")))
    assert "safetensors" in DATA.packages(params(FileData("b.safetensors")))
    assert DATA.packages(params(FileData("b.csv"))) == ("ml-dtypes", "numpy")
