"""Fresh interpreters under other hash seeds, in other folders, deliver the same bytes; and who does not is named."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import onnx
import pytest

from tests.incremental.deep_models import LAYERS, write_deep
from tests.project import MLP, Done, Project


def rebuilt(done: Done, verdict: str) -> dict[str, str | None]:
    """The actions that a rebuild came to `verdict` for, with what differed."""
    return {e["action"]: e["difference"] for e in done.events if e["event"] == "rebuilt" and e["verdict"] == verdict}


def artifacts(project: Project) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in (project.root / ".onnxbuild/blobs").rglob("*") if file.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frameworks", "needs"),
    [
        pytest.param(("torch",), "torch", marks=pytest.mark.torch),
        pytest.param(("keras", "tensorflow", "tflite"), "tf2onnx", marks=pytest.mark.tensorflow),
        pytest.param(("sklearn",), "skl2onnx", marks=pytest.mark.sklearn),
        pytest.param(("onnx",), "onnx"),
    ],
)
def test_deep_models_are_the_same_bytes_elsewhere(project: Project, frameworks: tuple[str, ...], needs: str) -> None:
    if importlib.util.find_spec(needs) is None:  # importing it here would take seconds
        pytest.skip(f"needs {needs}")
    for framework in frameworks:
        write_deep(project, framework)
    done = project.make("--check-determinism", "-j2", timeout=900)
    assert done.code == 0, done.out + done.err
    same = rebuilt(done, "same")
    for framework in frameworks:
        target = {"torch": "torch/plain", "onnx": "onnx/int4"}.get(framework, f"{framework}/default")
        model = onnx.load(project.root / "build" / target / "model.onnx")
        assert layers(model) >= LAYERS, framework
        assert f"{framework}/{'canonicalize' if framework == 'onnx' else 'export'}" in same
    assert len([name for name in same if name.endswith("/package")]) == len(done.event("plan")["targets"])
    if frameworks == ("onnx",):
        steps = [name.rpartition("/")[2] for name in same]
        assert {step: steps.count(step) for step in ("optimize", "prune", "quantize")} == {
            "optimize": 5, "prune": 3, "quantize": 7
        }  # fmt: skip
        assert {"data.1", "data.2"} <= set(steps)
    assert_nothing_of_the_source_is_inside(project)


def layers(model: onnx.ModelProto) -> int:
    """Nodes that hold weights; of a forest its trees."""
    weights = {tensor.name for tensor in model.graph.initializer}
    trees = [set(a.ints) for n in model.graph.node for a in n.attribute if a.name == "nodes_treeids"]
    return sum(bool(weights & set(node.input)) for node in model.graph.node) + sum(map(len, trees))


def assert_nothing_of_the_source_is_inside(project: Project) -> None:
    sources = [p for p in (project.root / "recipes").iterdir() if p.suffix == ".py"]
    lines = [line.strip().encode() for p in sources for line in p.read_text().splitlines() if len(line.strip()) > 12]
    for file, data in artifacts(project).items():
        assert str(project.root.parent).encode() not in data, file
        assert f"{Path.home()}/".encode() not in data, file
        assert b"site-packages" not in data, file
        assert not [line for line in lines if line in data], file


LOOSE = "passes: [custom: {function: unsteady.py:run}]\ntolerance: {outputs: {y: {atol: 99, rtol: 9}}}\n"
SLIM = "passes: [onnxslim: default]\n"
UNSTEADY = """\
import onnx_ir as ir


def run(model):
    weight = model.graph.initializers["w2"]
    changed = weight.const_value.numpy() * (1 + hash("seed") % 97 / 10000)
    weight.const_value = ir.tensor(changed.astype("float32"), name="w2")
    return model
"""


def test_pass_that_depends_on_the_hash_seed_is_found(mlp: Project) -> None:
    mlp.write("recipes/unsteady.py", UNSTEADY)
    mlp.recipe("mlp", MLP + LOOSE)
    done = mlp.make("--check-determinism")
    assert done.code == 1
    assert set(rebuilt(done, "same")) == {"mlp/data", "mlp/canonicalize"}
    different = rebuilt(done, "different")
    assert set(different) == {"mlp/optimize", "mlp/package"}
    assert different["mlp/optimize"] == "initializer 'w2' differs in its values"
    assert different["mlp/package"] == "it was made from another mlp/optimize"
    assert "different mlp/optimize: initializer" in done.out
    assert done.event("end")["exit_code"] == 1


def test_loader_that_returns_its_folder_is_found(mlp: Project) -> None:
    mlp.write(
        "recipes/load.py",
        "import os\nimport numpy as np\n\n\ndef calls():\n"
        "    return {'x': np.full((4, 8), len(os.getcwd()), 'float32')}\n",
    )
    mlp.recipe("mlp", MLP.replace("{data: data/test.npz, metric: accuracy}", "{data: {loader: load.py:calls}}") + SLIM)
    done = mlp.make("--check-determinism")
    assert done.code == 1
    assert set(rebuilt(done, "different")) == {"mlp/data"}
    assert set(rebuilt(done, "same")) == {"mlp/canonicalize", "mlp/optimize", "mlp/package"}


def test_code_that_reads_what_is_not_on_record_fails_the_check(mlp: Project) -> None:
    """What a subprocess reads is no recorded input, unless the recipe lists it; elsewhere it is not there."""
    mlp.write(
        "recipes/load.py",
        "import subprocess\nimport numpy as np\n\n\ndef calls():\n"
        "    rows = int(subprocess.check_output(['cat', 'conf/size']))\n"
        "    return {'x': np.ones((rows, 8), 'float32')}\n",
    )
    mlp.write("recipes/conf/size", "4")
    mlp.recipe("mlp", MLP.replace("{data: data/test.npz, metric: accuracy}", "{data: {loader: load.py:calls}}") + SLIM)
    done = mlp.make("--check-determinism")
    assert done.code == 1
    failed = rebuilt(done, "failed")
    assert set(failed) == {"mlp/data", "mlp/optimize", "mlp/package"}
    assert "CalledProcessError" in str(failed["mlp/data"])
