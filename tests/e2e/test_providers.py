"""Providers through the real command: nothing falls back silently, what is not there is unverified everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from onnxbuild.recipe.providers import TABLE
from onnxbuild.runtime import load
from onnxbuild.stamp import devices
from tests.here import apart, needs, simulates
from tests.project import MLP, ONE_ROW, Done, Project, write_mlp

needs_openvino = needs("openvino")
without_gpu = pytest.mark.skipif(bool(devices()), reason="this machine has a GPU, so cuda may be there")
PRECISE = "options: {load_config: {CPU: {INFERENCE_PRECISION_HINT: f32}}}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("providers"))
    write_mlp(made)
    return made


@pytest.fixture(scope="module")
def cuda(project: Project) -> Done:
    return make(project, "cpu: {}, cuda: {}")


def make(project: Project, providers: str, *arguments: str, **options: Any) -> Done:
    project.recipe("mlp", f"{MLP}providers: {{{providers}}}\n")
    return project.make(*arguments, **options)


def gates(done: Done) -> dict[tuple[str, str], dict[str, Any]]:
    return {(e["gate"], e["provider"]): e for e in done.events if e["event"] == "gate"}


@without_gpu
def test_onnxruntime_itself_falls_back_without_a_word(project: Project):
    model = str(project.root / "recipes/models/mlp.onnx")
    assert "CUDAExecutionProvider" in ort.get_available_providers()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model, options, providers=["CUDAExecutionProvider"])
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert session.run(None, {"x": np.zeros((1, 8), np.float32)})[0].shape == (1, 4)


@without_gpu
def test_a_provider_that_is_not_there_is_unverified(cuda: Done):
    assert cuda.code == 0
    found = gates(cuda)
    assert found["tolerance.y.atol", "cpu"]["verdict"] == "passed"
    for gate in ("placement", "tolerance.y.atol"):
        assert (found[gate, "cuda"]["verdict"], found[gate, "cuda"]["measured"]) == ("unverified", None)
    assert "is missing" in found["placement", "cuda"]["reason"]
    assert cuda.event("verdict")["verdict"] == "unverified"
    assert "placement on cuda" in cuda.out


@without_gpu
def test_it_is_unverified_wherever_the_target_is_shown(project: Project, cuda: Done):
    manifest = json.loads((project.root / "build/mlp/default/manifest.json").read_text())
    assert manifest["verdict"] == "unverified"
    assert [g["verdict"] for g in manifest["gates"] if g["gate"] == "placement"] == ["unverified"]
    assert manifest["placement"]["cuda"] == {"present": False, "nodes": None, "of": None}
    assert manifest["placement"]["cpu"]["present"] is True
    assert json.loads(project.run("status", "--format", "json").out)["targets"][0]["verdict"] == "unverified"
    page, index = ((project.root / f"reports/{name}.html").read_text() for name in ("mlp", "index"))
    assert "cuda: not here, so nothing was verified on it" in page
    assert "cpu, cuda (unverified)" in index
    twin = json.loads((project.root / "reports/mlp.json").read_text())
    assert [bool(p["facts"]["absent"]) for p in twin["targets"][0]["placements"]] == [False, True]


@without_gpu
def test_strict_and_required_fail_it_without_another_run(project: Project, cuda: Done):
    strict = make(project, "cpu: {}, cuda: {}", "--strict")
    assert (strict.code, strict.ran) == (1, [])
    required = make(project, "cpu: {}, CUDAExecutionProvider: {required: true}")
    assert (required.code, required.ran) == (1, [])
    assert gates(required)["placement", "cuda"]["verdict"] == "failed"
    assert required.event("verdict")["verdict"] == "failed"


@without_gpu
def test_a_device_that_came_is_tried(project: Project, cuda: Done, tmp_path: Path):
    make(project, "cpu: {}, cuda: {}")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()
    (tmp_path / "proc/driver/nvidia/gpus/0").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/gpus/0/information").write_text("Model: \t\t NVIDIA H100 PCIe\nIRQ: 1\n")
    (tmp_path / "proc/driver/nvidia/version").write_text("NVRM version: NVIDIA 580.1\n")
    with_device = project.make(env={"ONNXBUILD_DEVICES": str(tmp_path)})
    assert with_device.ran == ["mlp/place@cuda", "mlp/validate@cuda"]
    (reason,) = with_device.event("action", action="mlp/place@cuda")["reasons"]
    assert "nvidia0" in reason
    assert "NVIDIA H100 PCIe" in reason
    (tmp_path / "proc/driver/nvidia/version").write_text("NVRM version: NVIDIA 590.2\n")
    newer = project.make(env={"ONNXBUILD_DEVICES": str(tmp_path)})
    assert newer.ran == ["mlp/place@cuda", "mlp/validate@cuda"]
    assert project.make().ran == []  # the traces of no device still stand


def test_nodes_and_kernels_on_the_cpu(project: Project):
    done = make(project, "cpu: {min_nodes: 100%}")
    assert done.code == 0
    gate = gates(done)["placement", "cpu"]
    assert (gate["verdict"], gate["measured"], gate["limit"]) == ("passed", 1.0, "at least 100% of nodes")
    (placed,) = json.loads((project.root / "reports/mlp.json").read_text())["targets"][0]["placements"]
    facts = placed["facts"]
    assert facts["got"] == ["CPUExecutionProvider"]
    # Six nodes; the runtime drops an Identity, makes Gemms of MatMul and Add, and then fuses a Relu into one.
    assert (facts["model_nodes"], sum(p["nodes"] for p in facts["assignment"]["placed"])) == (6, 3)
    assert facts["profile"]["kernels"] == 2
    assert facts["profile"]["time"] == {}, "durations are volatile"
    volatile = json.loads((project.root / "reports/mlp.json").read_text())["volatile"]["actions"]
    assert volatile["mlp/place@cpu"]["time"] == {"CPUExecutionProvider": 1.0}


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in TABLE if name != "cpu"])
@apart
def test_a_provider_that_is_here_gets_nodes_and_is_measured(project: Project, name: str):
    rough = "{tolerance: {outputs: {y: {atol: 0.2, rtol: 0.2}}}}"
    recipe, rows = (ONE_ROW, 1) if name == "qnn" else (MLP, 3)
    project.recipe("mlp", f"{recipe}providers: {{{name}: {rough}, cpu: {{}}}}\n")
    done = project.make()
    assert done.code == 0, done.out
    found = gates(done)
    verdict = "unverified" if simulates(name) else "passed"
    assert {found[gate, name]["verdict"] for gate in ("placement", "tolerance.y.atol")} == {verdict}
    facts = json.loads((project.root / "reports/mlp.json").read_text())["targets"][0]["placements"][0]["facts"]
    assert facts["got"][0] == TABLE[name].full_name
    assert facts["devices"]
    assert facts["agreement"][0]["elements"] > 0
    model = load(project.root / "build/mlp/default", provider=name)
    assert model.provider == TABLE[name].full_name
    assert model.run(x=np.ones((rows, 8), np.float32))["y"].shape == (rows, 4)


@needs_openvino
def test_openvino_gets_the_nodes_and_is_measured_against_the_source(project: Project):
    done = make(project, f"cpu: {{}}, openvino: {{min_nodes: 95%, {PRECISE}}}")
    assert done.code == 0, done.out
    found = gates(done)
    assert (found["placement", "openvino"]["verdict"], found["placement", "openvino"]["measured"]) == ("passed", 1.0)
    assert found["tolerance.y.atol", "openvino"]["verdict"] == "passed"
    target = json.loads((project.root / "reports/mlp.json").read_text())["targets"][0]
    facts = target["placements"][1]["facts"]
    assert facts["got"][0] == "OpenVINOExecutionProvider"
    assert facts["devices"][0]["kind"] == "CPU"
    assert facts["agreement"][0]["max_abs"] < 1e-4
    assert facts["profile"]["kernels"] == 1


@needs_openvino
def test_openvinos_default_precision_is_measured_not_assumed(project: Project):
    """It computes in bf16 on CPUs that can, so accuracy belongs to a model on a provider."""
    done = make(project, "cpu: {}, openvino: {tolerance: {outputs: {y: {atol: 10}}}}")
    bf16 = "avx512_bf16" in Path("/proc/cpuinfo").read_text() or "amx_bf16" in Path("/proc/cpuinfo").read_text()
    found = gates(done)
    assert found["tolerance.y.atol", "cpu"]["measured"] < 1e-5
    assert (found["tolerance.y.atol", "openvino"]["measured"] > 1e-3) is bf16
    strict = make(project, "cpu: {}, openvino: {}")
    assert strict.code == int(bf16)


@needs_openvino
def test_an_option_that_the_provider_refuses_fails_the_stage_with_its_words(project: Project):
    done = make(project, "cpu: {}, openvino: {options: {load_config: {CPU: {NONSENSE: 1}}}}", "-k")
    assert done.code == 1
    failures = [e["failure"] for e in done.events if e["event"] == "action" and e["status"] == "failed"]
    assert {failure["code"] for failure in failures} == {"provider-refuses"}
    assert all("NONSENSE" in failure["message"] for failure in failures)


def test_what_is_made_for_a_machine_says_for_which(tmp_path: Path):
    project = Project(tmp_path / "tied")
    write_mlp(project)
    variants = "variants:\n  any: {}\n  mine: {passes: [{onnxruntime: all}], package: {portable: false}}\n"
    project.recipe("mlp", MLP + "package: {formats: [onnx, ort]}\n" + variants)
    done = project.make()
    assert done.code == 0, done.out
    manifests = {
        name: json.loads((project.root / f"build/mlp/{name}/manifest.json").read_text()) for name in ("any", "mine")
    }
    assert manifests["any"]["tied_to"] is None
    assert manifests["mine"]["tied_to"]
    for name, manifest in manifests.items():
        assert set(manifest["files"]) == {"model.onnx", "model.ort"}
        file = str(project.root / f"build/mlp/{name}/model.ort")
        session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
        assert session.run(None, {"x": np.zeros((2, 8), np.float32)})[0].shape == (2, 4)
    page = (project.root / "reports/mlp.html").read_text()
    assert page.count("<dt>Made for machines like</dt>") == 1
