"""`<component>_change_reruns`: what a change of each thing runs again, told by the events, and no more.

Dry runs are used where only the first step counts: there, what follows waits, since early cut-off may spare it.
Others of the kind are in tests/e2e/test_reuse.py (labels, what loaders import and open, session) and test_make.py
(external data).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxbuild.stages.prune import PRUNE
from tests.incremental.projects import (
    edit,
    on_path,
    pretend,
    ran,
    reasons,
    rewrite_arrays,
    waiting,
    write_weights,
)
from tests.project import MLP, Project, write_mlp

PASSES = {f"optimize.{n}" for n in range(1, 6)}
MODELS = ["canonicalize", *sorted(PASSES), "prune", "quantize"]
PROOFS = [*(f"validate@cpu.{n}" for n in range(1, 8)), "validate@cpu"]
END = {"validate@cpu", "place@cpu", "package"}


def after(model: str) -> set[str]:
    """All that can follow when a model action runs: later models, their proofs, its own proof, the package."""
    number = MODELS.index(model)
    return {*MODELS[number + 1 :], *PROOFS[number:], "place@cpu", "package"}


def test_model_source_change_reruns(steps: Project) -> None:
    path = steps.root / "recipes/models/mlp.onnx"
    model = onnx.load(path)
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "w2")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 2, "w2"))
    onnx.save(model, path)
    done = steps.make()
    assert ran(done) >= {*MODELS, "reference", "package"}
    assert not {"data.1", "data.2"} & ran(done)
    assert reasons(done, "mlp/canonicalize") == ["input recipes/models/mlp.onnx changed"]


@pytest.mark.torch
def test_imported_module_change_reruns(net: Project) -> None:
    edit(net, "recipes/blocks.py", "torch.relu(", "torch.tanh(")
    done = net.make()
    assert ran(done) == {"export", "reference", *END}
    assert reasons(done, "net/export") == ["input recipes/blocks.py changed"]


@pytest.mark.torch
def test_factory_change_reruns(net: Project) -> None:
    edit(net, "recipes/net.py", "torch.nn.Linear(width, 4)", "torch.nn.Linear(width, 4), torch.nn.Identity()")
    done = net.make("-n")
    assert ran(done) == {"export", "reference"}
    assert waiting(done) == END


@pytest.mark.torch
def test_weights_change_reruns(net: Project) -> None:
    write_weights(net, seed=1)
    done = net.make("-n")
    assert ran(done) == {"export", "reference"}
    assert waiting(done) == END
    assert reasons(done, "net/export") == ["input recipes/net.safetensors changed"]


@pytest.mark.sklearn
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("recipes/models/line.py", "size=(60, 4)", "size=(61, 4)", id="factory"),
        pytest.param("recipes/models/shapes.py", "2", "3", id="imported module"),
        pytest.param("recipes/models/settings.json", "1.0", "0.5", id="opened file"),
    ],
)
def test_factory_input_change_reruns(forest: Project, file: str, old: str, new: str) -> None:
    edit(forest, file, old, new)
    done = forest.make("-n")
    assert ran(done) == {"export", "reference"}
    assert waiting(done) == END
    assert reasons(done, "line/export") == [f"input {file} changed"]


@pytest.mark.sklearn
def test_listed_folder_change_reruns(forest: Project) -> None:
    forest.write("recipes/models/parts/two.txt", "")
    done = forest.make("-n")
    assert ran(done) == {"export", "reference"}
    assert reasons(done, "line/export") == ["the files in recipes/models/parts/ are others"]


@pytest.mark.sklearn
def test_declared_variable_change_reruns(forest: Project) -> None:
    done = forest.make("-n", env={"ROUNDS": "7"})
    assert ran(done) == {"export", "reference"}
    assert waiting(done) == END
    assert reasons(done, "line/export") == ['environment ROUNDS changed from null to "7"']


@pytest.mark.sklearn
def test_undeclared_variable_change_runs_nothing(forest: Project) -> None:
    assert ran(forest.make("-n", env={"MODEL_REV": "7"})) == set()


@pytest.mark.sklearn
def test_argument_of_the_factory_change_reruns(forest: Project) -> None:
    edit(forest, "recipes/line.yaml", "seed: 0", "seed: 1")
    done = forest.make("-n")
    assert ran(done) == {"export", "reference"}
    assert waiting(done) == END


def test_calibration_data_change_reruns(steps: Project) -> None:
    rewrite_arrays(steps.root / "recipes/data/train.npz", x=np.ones((64, 8), np.float32))
    done = steps.make()
    assert ran(done) == {"data.2", "quantize", *END}


def test_evaluation_data_change_reruns(steps: Project) -> None:
    """Probes are rows of it, so the passes are compared again; their models stay, and so does what follows them."""
    file = steps.root / "recipes/data/test.npz"
    with np.load(file) as arrays:
        x = arrays["x"]
    rewrite_arrays(file, x=x * np.float32(1.5))
    done = steps.make()
    assert {name for name in ran(done) if not name.startswith(("validate", "place"))} == {
        "data.1",
        "reference",
        *PASSES,
    }
    assert "validate@cpu" in ran(done)
    assert reasons(done, "mlp/data.1") == ["input recipes/data/test.npz changed"]


def test_loader_change_reruns(steps: Project) -> None:
    edit(steps, "recipes/data/load.py", "np.float32(SCALE)", "np.float32(2 * SCALE)")
    done = steps.make("-n")
    assert ran(done) == {"data.1"}
    assert waiting(done) == {"reference", *PASSES, "prune", "quantize", *PROOFS, "place@cpu", "package"}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("recipes/metrics/share.py", "return float(", "return 0.5 * float(", id="function"),
        pytest.param("recipes/metrics/counting.py", "mean()", "mean() ** 2", id="imported module"),
        pytest.param("recipes/metrics/weight.txt", "1.0", "0.5", id="opened file"),
    ],
)
def test_metric_change_reruns(steps: Project, file: str, old: str, new: str) -> None:
    edit(steps, file, old, new)
    done = steps.make("-n")
    assert ran(done) == set(PROOFS)
    assert waiting(done) == {"package"}
    assert reasons(done, "mlp/validate@cpu") == [f"input {file} changed"]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("recipes/passes/name.py", "joined(prefix", "joined('very ' + prefix", id="function"),
        pytest.param("recipes/passes/naming.py", "{one}/{two}", "{one}-{two}", id="imported module"),
    ],
)
def test_custom_pass_change_reruns(steps: Project, file: str, old: str, new: str) -> None:
    edit(steps, file, old, new)
    done = steps.make("-n")
    assert ran(done) == {"optimize.5"}
    assert waiting(done) == after("optimize.5")


@pytest.mark.parametrize(
    ("old", "new", "first"),
    [
        pytest.param("opset: 20", "opset: 19", "canonicalize", id="opset"),
        pytest.param("ir_version: 10", "ir_version: 9", "canonicalize", id="ir_version"),
        pytest.param("[eliminate_identity]", "[eliminate_deadend]", "optimize.2", id="pass names"),
        pytest.param("onnxruntime: basic", "onnxscript: optimize", "optimize.4", id="pass tool"),
        pytest.param("prefix: renamed", "prefix: other", "optimize.5", id="pass arguments"),
        pytest.param("sparsity: 0.1", "sparsity: 0.2", "prune", id="pruning sparsity"),
        pytest.param("sparsity: 0.1", "sparsity: 0.1, scope: global", "prune", id="pruning scope"),
        pytest.param("sparsity: 0.1", "sparsity: 0.1, exclude: [fc2/*]", "prune", id="pruning exclude"),
        pytest.param("sparsity: 0.1", "sparsity: 0.1, include: [fc2/*]", "prune", id="pruning include"),
        pytest.param("magnitude, sparsity: 0.1", "threshold, threshold: 0.1", "prune", id="pruning method"),
        pytest.param("mode: static", "mode: dynamic", "quantize", id="quantization mode"),
        pytest.param("mode: static", "mode: static, weights: uint8", "quantize", id="quantization weights"),
        pytest.param("mode: static", "mode: static, activations: int8", "quantize", id="quantization activations"),
        pytest.param("mode: static", "mode: static, format: qoperator", "quantize", id="quantization format"),
        pytest.param("mode: static", "mode: static, per_channel: true", "quantize", id="quantization per_channel"),
        pytest.param("mode: static", "mode: static, calibrate: entropy", "quantize", id="quantization calibrate"),
        pytest.param("mode: static", "mode: static, op_types: [MatMul]", "quantize", id="quantization op_types"),
        pytest.param("mode: static", "mode: static, exclude: [fc2/*]", "quantize", id="quantization exclude"),
    ],
)
def test_model_parameter_change_reruns(steps: Project, old: str, new: str, first: str) -> None:
    edit(steps, "recipes/mlp.yaml", old, new)
    done = steps.make("-n")
    assert ran(done) == {first}
    assert waiting(done) == after(first)


@pytest.mark.parametrize(
    ("old", "new", "first", "then"),
    [
        pytest.param("samples: 32", "samples: 16", {"data.2"}, {"quantize", *END}, id="calibration samples"),
        pytest.param(
            "basic, intra", "all, intra", {*PROOFS, "place@cpu"}, {"package"}, id="session graph_optimization"
        ),
        pytest.param("threads: 1", "threads: 2", {*PROOFS, "place@cpu"}, {"package"}, id="session intra_op_threads"),
        pytest.param(
            "threads: 1",
            "threads: 1, memory_pattern: false",
            {*PROOFS, "place@cpu"},
            {"package"},
            id="session memory_pattern",
        ),
        pytest.param(
            "threads: 1", "threads: 1, cpu_arena: false", {*PROOFS, "place@cpu"}, {"package"}, id="session cpu_arena"
        ),
        pytest.param("team: kiosk", "team: shop", {"package"}, set(), id="package metadata"),
        pytest.param("metadata: {", "portable: false, metadata: {", {"package"}, set(), id="package portable"),
    ],
)
def test_parameter_change_reruns(steps: Project, old: str, new: str, first: set[str], then: set[str]) -> None:
    edit(steps, "recipes/mlp.yaml", old, new)
    done = steps.make("-n")
    assert ran(done) == first
    assert waiting(done) == then


TOOLS = """\
format: 1
source: {framework: onnx, path: models/mlp.onnx}
inputs: {x: {dtype: float32, shape: [batch, 8]}}
outputs: [y]
dynamic_axes: {batch: {max: 64}}
opset: 20
passes: [onnxscript: optimize, onnxoptimizer: [eliminate_identity], onnxslim: default, onnxruntime: basic]
pruning: {method: magnitude, sparsity: 0.1}
calibration: {data: data/train.npz}
evaluation: {data: data/test.npz, metric: accuracy}
quantization: {mode: static}
tolerance: {outputs: {y: {mean_abs: 90}}}
"""


@pytest.fixture(scope="session")
def built_tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = Project(tmp_path_factory.mktemp("tools") / "project")
    write_mlp(project)
    project.recipe("mlp", TOOLS)
    assert ran(project.make())
    return project.root


@pytest.mark.parametrize(
    ("tool", "first"),
    [
        ("onnxoptimizer", {"optimize.2"}),
        ("onnxslim", {"optimize.3"}),
        ("onnxscript", {"canonicalize"}),
        ("onnx", {"canonicalize", "reference"}),
        ("onnx-ir", {"canonicalize"}),
        ("protobuf", {"canonicalize", "reference"}),
        ("onnxruntime-gpu", {"canonicalize", "reference"}),
        ("numpy", {"canonicalize", "data.1", "data.2"}),
        ("ml-dtypes", {"canonicalize", "data.1", "data.2"}),
        ("torch", set()),
        ("tensorflow", set()),
        ("scikit-learn", set()),
        ("pyarrow", set()),
        ("safetensors", set()),
        ("psutil", set()),
    ],
)
def test_tool_version_change_reruns(built_tools: Path, tmp_path: Path, tool: str, first: set[str]) -> None:
    """Only the first of a chain is seen here: what follows waits."""
    done = Project(built_tools).make("-n", env=pretend(tmp_path / "other", {tool: "99.0"}))
    assert {name for name in ran(done) if not name.startswith(("validate", "place"))} == first
    for name in first:
        label = f"package {tool.removesuffix('-gpu')} changed from"
        assert any(why.startswith(label) for why in reasons(done, f"mlp/{name}")), name


@pytest.mark.torch
@pytest.mark.parametrize(
    ("tool", "first"), [("torch", {"export", "reference"}), ("skl2onnx", set()), ("onnxslim", set())]
)
def test_framework_version_change_reruns(net: Project, tmp_path: Path, tool: str, first: set[str]) -> None:
    assert ran(net.make("-n", env=pretend(tmp_path / "other", {tool: "99.0"}))) == first


TREES = """\
format: 1
source: {framework: sklearn, path: trees.skops}
inputs: {x: {dtype: float32, shape: [batch, 4]}}
outputs: {label: predict, y: predict_proba}
dynamic_axes: {batch: {max: 8}}
"""


def test_version_of_the_boosted_trees_in_a_skops_file_change_reruns(tmp_path: Path) -> None:
    """What no recipe and no code names: only reading the file shows it."""
    for needed in ("skl2onnx", "onnxmltools"):
        pytest.importorskip(needed)
    lightgbm, skops = pytest.importorskip("lightgbm"), pytest.importorskip("skops.io")
    project = Project(tmp_path / "project")
    rng = np.random.default_rng(0)
    trees = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1, n_jobs=1)
    trees.fit(rng.normal(size=(60, 4)).astype(np.float32), rng.integers(0, 2, 60))
    skops.dump(trees, project.root / "recipes/trees.skops")
    project.recipe("trees", TREES)
    assert "export" in ran(project.make())
    assert ran(project.make("-n")) == set()
    done = project.make("-n", env=pretend(tmp_path / "other", {"lightgbm": "99.0"}))
    assert ran(done) == {"export", "reference"}
    assert reasons(done, "trees/export")[0].startswith("package lightgbm is no longer")
    assert ran(project.make("-n", env=pretend(tmp_path / "another", {"xgboost": "99.0"}))) == set()


PLACE = """\
import os

import numpy as np
from sklearn.linear_model import LogisticRegression


def build():
    rows = np.arange(24, dtype="float32").reshape(6, 4)
    return LogisticRegression(C=2.0 if os.path.isdir("large") else 1.0).fit(rows, [0, 1] * 3)
"""


def test_folder_that_is_asked_for_and_goes_reruns(tmp_path: Path) -> None:
    """New files in it run nothing; a folder that comes was absent."""
    pytest.importorskip("skl2onnx")
    project = Project(tmp_path / "project")
    project.write("recipes/line.py", PLACE)
    project.recipe("line", TREES.replace("path: trees.skops", "factory: line.py:build"))
    (project.root / "recipes/large").mkdir()
    assert "export" in ran(project.make())
    project.write("recipes/large/new.txt", "")
    assert ran(project.make()) == set()
    (project.root / "recipes/large/new.txt").unlink()
    (project.root / "recipes/large").rmdir()
    done = project.make()
    assert {"export", "reference"} <= ran(done)
    assert reasons(done, "line/export") == ["the folder recipes/large/ is gone"]
    (project.root / "recipes/large").mkdir()
    assert ran(project.make()) == set()


RAISED = """\
import onnxbuild.stages.stage as stage

made = stage.Stage.__init__


def raised(self, *, name, version, **rest):
    made(self, name=name, version=version + (name == "prune"), **rest)


stage.Stage.__init__ = raised
"""


def test_stage_version_change_reruns(steps: Project, tmp_path: Path) -> None:
    """The model comes out the same, so nothing after it runs."""
    (tmp_path / "later").mkdir()
    (tmp_path / "later/sitecustomize.py").write_text(RAISED)
    done = steps.make(env=on_path(tmp_path / "later"))
    assert ran(done) == {"prune"}
    assert reasons(done, "mlp/prune") == [f"the stage's own version rose from {PRUNE.version} to {PRUNE.version + 1}"]


TIED = """\
passes: [onnxruntime: basic, onnxruntime: extended]
package: {portable: false}
quantization: {mode: dynamic}
tolerance: {outputs: {y: {mean_abs: 90}}}
"""
CPU = "processor\t: 0\nmodel name\t: {}\ncpu MHz\t: {}\nflags\t: fpu {}\n\nprocessor\t: 1\nmodel name\t: small\n"


def on_cpu(folder: Path, model: str, instructions: str, clock: int = 3000) -> dict[str, str]:
    """Return an environment on a machine whose kernel tells of such a CPU."""
    file = folder / f"{model}-{clock}"
    file.write_text(CPU.format(model, clock, instructions))
    return {"ONNXBUILD_CPUINFO": str(file)}


@pytest.fixture(scope="session")
def built_tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = Project(tmp_path_factory.mktemp("tied") / "project")
    write_mlp(project)
    project.recipe("mlp", MLP + TIED)
    assert ran(project.make(env=on_cpu(project.root, "Fast 1", "avx sse2")))
    return project.root


def test_hardware_change_reruns(built_tied: Path, tmp_path: Path) -> None:
    """What measures and what is tied to the machine; export, portable passes and quantisation serve every CPU."""
    tied = Project(built_tied)
    for model, instructions, why in (
        ("Fast 2", "avx sse2", "the CPU is another: Fast 2, not Fast 1"),
        ("Fast 1", "avx avx512_vnni", "the CPU has other instruction sets: without sse2 and with avx512_vnni"),
    ):
        done = tied.make("-n", env=on_cpu(tmp_path, model, instructions))
        assert ran(done) == {"optimize.2", "validate@cpu.1", "validate@cpu.2"}
        assert waiting(done) == {"quantize", "validate@cpu", "validate@cpu.3", "place@cpu", "package"}
        assert reasons(done, "mlp/optimize.2") == [why]
        assert reasons(done, "mlp/validate@cpu.1") == [why]


def test_clock_of_the_cpu_and_the_other_processors_run_nothing(built_tied: Path, tmp_path: Path) -> None:
    assert ran(Project(built_tied).make("-n", env=on_cpu(tmp_path, "Fast 1", "sse2 avx", clock=1200))) == set()


def test_hardware_of_a_measurement_is_told(built_tied: Path, tmp_path: Path) -> None:
    tied = Project(built_tied)
    report = json.loads((tied.root / "reports/mlp.json").read_bytes())
    assert report["provenance"]["hardware"]["cpu"] == "Fast 1"
    assert report["provenance"]["hardware"]["instruction sets"] == "avx sse2"
    told = tied.run("explain", "mlp/optimize.2", env=on_cpu(tmp_path, "Fast 2", "avx sse2")).out.splitlines()
    assert [line.strip() for line in told[1:4]] == [
        "hardware", "old  Fast 1; avx sse2", "new  Fast 2; avx sse2",
    ]  # fmt: skip
