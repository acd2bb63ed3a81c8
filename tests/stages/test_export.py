"""The export and reference stages: what they deliver, twice the same in fresh processes, and what they refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.calls import read_calls, write_calls
from onnxbuild.recipe.types import Axis, Framework, Function, Input, Output, Source
from onnxbuild.sources import table
from onnxbuild.stages.export import CANONICALIZE, EXPORT, ExportParams, export_stage
from onnxbuild.stages.reference import REFERENCE, ReferenceParams
from onnxbuild.stages.stage import Workspace

X = Input(name="x", dtype="float32", shape=("batch", 4))

FACTORIES = {
    "torch": """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x):
        return self.body(x).softmax(-1)

def build():
    return Net()
""",
    "sklearn": """
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

def build():
    x = np.random.default_rng(0).standard_normal((60, 4))
    return make_pipeline(StandardScaler(), RandomForestClassifier(4)).fit(x, (x[:, 0] > 0).astype(int))
""",
    "keras": """
import keras

def build():
    keras.utils.set_random_seed(1)
    x = keras.Input((4,))
    return keras.Model(x, keras.layers.Dense(3, activation="softmax")(keras.layers.Dense(8, activation="relu")(x)))
""",
}

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_export
test_export.export_in(Path(sys.argv[1]), sys.argv[2])
"""


def params(source, outputs=("y",), **changes):
    fields = {
        "source": source,
        "inputs": (X,),
        "outputs": tuple(Output(name=name) for name in outputs),
        "axes": {"batch": Axis(max=16)},
        "opset": 20,
        "ir_version": None,
    }
    return ExportParams(**(fields | changes))


def workspace(folder: Path, files: dict[str, Path], **inputs: Path) -> Workspace:
    (folder / "scratch").mkdir(parents=True, exist_ok=True)
    return Workspace(inputs, files, folder / "out", folder / "scratch", folder)


def export_in(folder: Path, framework: str) -> None:
    """Run the export stage in `folder`; called in a process of its own."""
    folder.mkdir(parents=True)
    file = folder / "net.py"
    file.write_text(FACTORIES[framework])
    source = Source(framework=Framework(framework), factory=Function("net.py", "build"))
    EXPORT.run(params(source), workspace(folder, {"factory": file}))


def artifacts(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    "framework",
    [
        pytest.param("torch", marks=pytest.mark.torch),
        pytest.param("sklearn", marks=pytest.mark.sklearn),
        pytest.param("keras", marks=[pytest.mark.tensorflow, pytest.mark.slow]),
    ],
)
def test_two_processes_in_two_folders_deliver_the_same_bytes(tmp_path, framework):
    pytest.importorskip(framework)
    delivered = []
    for folder, seed in ((tmp_path / "one", "1"), (tmp_path / "another" / "place", "2")):
        folder.parent.mkdir(exist_ok=True)
        root = Path(table.__file__).parents[2]
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        script = SCRIPT.format(tests=str(Path(__file__).parent))
        done = subprocess.run(
            [sys.executable, "-c", script, str(folder), framework], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        delivered.append(artifacts(folder / "out"))
    assert set(delivered[0]) == {"model/model.onnx", "origins/origins.json"}
    assert delivered[0] == delivered[1]
    for name, data in delivered[0].items():
        assert str(tmp_path).encode() not in data, name
        assert b"softmax(-1)" not in data, name


@pytest.mark.torch
def test_a_comment_changes_nothing_in_the_model(tmp_path):
    pytest.importorskip("torch")
    delivered = []
    for place, text in (("a", FACTORIES["torch"]), ("b", "# a comment\n" + FACTORIES["torch"])):
        folder = tmp_path / place
        folder.mkdir()
        file = folder / f"net_{tmp_path.name}_{place}.py"
        file.write_text(text)
        source = Source(framework=Framework.TORCH, factory=Function(file.name, "build"))
        EXPORT.run(params(source), workspace(folder, {"factory": file}))
        delivered.append((folder / "out" / "model" / "model.onnx").read_bytes())
    assert delivered[0] == delivered[1]


def save_onnx(folder: Path) -> Path:
    import onnx
    from onnx import TensorProto, helper

    def value(name):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4])

    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [value("x")], [value("y")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "m.onnx")
    return folder / "m.onnx"


ONNX = Source(framework=Framework.ONNX, path="m.onnx")


def test_an_onnx_source_is_canonicalized_under_its_own_stage_name():
    assert export_stage(Framework.ONNX) is CANONICALIZE
    assert export_stage(Framework.TORCH) is EXPORT
    assert (CANONICALIZE.name, EXPORT.name) == ("canonicalize", "export")


def test_an_opset_that_cannot_be_had_is_said(tmp_path):
    with pytest.raises(StageFailure, match="cannot be converted to 40") as failure:
        CANONICALIZE.run(params(ONNX, opset=40), workspace(tmp_path, {"path": save_onnx(tmp_path)}))
    assert failure.value.code == "opset-not-delivered"


def test_the_ir_version_is_the_one_asked_for(tmp_path):
    work = workspace(tmp_path, {"path": save_onnx(tmp_path)})
    facts = CANONICALIZE.run(params(ONNX, opset=None, ir_version=9), work).model
    assert (facts.ir_version, facts.opsets) == (9, {"": 17})


def test_a_missing_extra_names_its_command(monkeypatch):
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    with pytest.raises(StageFailure, match="torch models need torch") as failure:
        table.source_kind(Framework.TORCH)
    assert failure.value.hint == "pip install 'onnxbuild[torch]'"


@pytest.mark.parametrize("framework", list(Framework))
def test_every_framework_says_what_its_key_needs(framework):
    source = Source(framework=framework, path="m")
    stage = export_stage(framework)
    assert {"onnx", "onnx-ir", "protobuf", "numpy"} <= set(stage.packages(params(source)))
    assert stage.preload(params(source))
    assert not stage.runs_user_code(params(source))
    assert stage.runs_user_code(params(Source(framework=framework, path="m", trust_pickle=True)))
    assert stage.runs_user_code(params(Source(framework=framework, factory=Function("a.py", "b"))))


def test_importing_the_stages_imports_no_framework():
    code = (
        "import sys, onnxbuild.stages.export, onnxbuild.stages.reference\n"
        "bad = {'torch', 'tensorflow', 'keras', 'sklearn', 'pandas', 'onnx_ir', 'onnxruntime'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    root = str(Path(table.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": root}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def run_reference(tmp_path, monkeypatch, results):
    class Kind:
        packages, preload, extra = (), (), ""

        def reference(self, request, calls):
            for _ in calls:
                yield results.pop(0)

    monkeypatch.setitem(table.SOURCES, Framework.ONNX, Kind())
    call = {"x": np.zeros((1, 4), np.float32)}
    write_calls(tmp_path / "calls", [call] * len(results))
    work = workspace(tmp_path, {}, calls=tmp_path / "calls")
    wanted = ReferenceParams(source=ONNX, inputs=(X,), outputs=(Output(name="y"),))
    return REFERENCE.run(wanted, work), read_calls(tmp_path / "out" / "outputs")


def test_reference_outputs_are_written_call_by_call(tmp_path, monkeypatch):
    facts, outputs = run_reference(tmp_path, monkeypatch, [{"y": np.float32([1])}, {"y": np.float32([np.nan])}])
    assert facts.calls == 2
    assert facts.nonfinite == {"y": 1}
    assert [call["y"].shape for call in outputs] == [(1,), (1,)]


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([{"z": np.zeros(1)}], "in call 0 the outputs are z, the recipe names y"),
        ([{"y": np.zeros(1)}, {"y": np.zeros((1, 1))}], "rank 1 in call 0 and float64 of rank 2 in call 1"),
        ([{"y": np.zeros(1)}, {"y": np.zeros(1, np.int64)}], "float64 of rank 1 in call 0 and int64"),
        ([{"y": np.zeros(1, np.complex64)}], "complex64"),
    ],
)
def test_outputs_that_change_or_cannot_be_are_refused(tmp_path, monkeypatch, results, said):
    with pytest.raises(StageFailure) as failure:
        run_reference(tmp_path, monkeypatch, results)
    assert failure.value.code == "source-outputs"
    assert said in failure.value.message
