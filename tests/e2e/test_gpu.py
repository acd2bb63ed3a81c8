"""CUDA, and TensorRT where it is installed, on a real device: placement, precision, time and the runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxbuild.runtime import load
from tests.here import apart, needs
from tests.project import MLP, Done, Project, write_mlp

needs_cuda, needs_tensorrt = needs("cuda"), needs("tensorrt")
EXACT = "{min_nodes: 100%, options: {use_tf32: 0}}"
VARIANTS = """\
variants:
  fp32: {}
  fp16:
    quantization: {mode: float16}
    tolerance: {outputs: {y: {atol: 0.05, rtol: 0.05}}}
    gates: {speed: {at_least: 0.05x of fp32, provider: cuda}, latency: {p95: 1 s}, memory: {peak: 8 GB}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("gpu"))
    write_mlp(made)
    return made


@pytest.fixture(scope="module")
def built(project: Project) -> Done:
    benchmark = "benchmark: {batch: [1, 32], min_seconds: 0.1}\n"
    project.recipe("mlp", f"{MLP}providers: {{cuda: {EXACT}, cpu: {{}}}}\n{benchmark}{VARIANTS}")
    return project.make()


def gates(done: Done, target: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(e["gate"], e["provider"]): e for e in done.events if e["event"] == "gate" and e["target"] == target}


@needs_cuda
def test_a_target_is_proved_placed_and_timed_on_the_device(project: Project, built: Done):
    assert built.code == 0, built.out
    found = gates(built, "mlp:fp16")
    assert {gate["verdict"] for gate in found.values()} == {"passed"}
    assert found["placement", "cuda"]["measured"] == 1.0
    low, high = found["speed", "cuda"]["interval"]
    assert 0 < low <= found["speed", "cuda"]["measured"] <= high
    assert gates(built, "mlp:fp32")["tolerance.y.atol", "cuda"]["measured"] < 1e-4
    twin = json.loads((project.root / "reports/mlp.json").read_text())
    for target in twin["targets"]:
        cuda, cpu = (placement["facts"] for placement in target["placements"])
        assert cuda["got"] == ["CUDAExecutionProvider", "CPUExecutionProvider"]
        assert (cuda["devices"][0]["kind"], cuda["devices"][0]["vendor"]) == ("GPU", "NVIDIA")
        assert cuda["agreement"][0]["elements"] > 0
        assert cpu["agreement"] == []
        loading, memory = (target["benchmarks"][0]["facts"][part] for part in ("loading", "memory"))
        assert 0 < loading["warm"] < loading["cold"]
        assert memory["arena"] > 0
    assert project.make().ran == []


@needs_cuda
def test_the_device_is_in_the_keys_of_what_it_measured(project: Project, built: Done):
    hidden = project.make("mlp:fp32", env={"CUDA_VISIBLE_DEVICES": ""})
    assert {"mlp:fp32/place@cuda", "mlp:fp32/validate@cuda"} <= set(hidden.ran)
    assert gates(hidden, "mlp:fp32")["placement", "cuda"]["verdict"] == "unverified"
    assert project.make("mlp:fp32").ran == []


@needs_cuda
def test_tf32_is_measured_and_named(project: Project):
    project.recipe("exact", f"{MLP}providers: {{cpu: {{}}, cuda: {EXACT}}}\n")
    project.recipe("rough", f"{MLP}providers: {{cpu: {{}}, cuda: {{}}}}\n")
    assert project.make("exact").code == 0
    rough = project.make("rough")
    gate = gates(rough, "rough:default")["tolerance.y.atol", "cuda"]
    if gate["verdict"] == "passed":
        pytest.skip("this GPU has no TF32")
    assert rough.code == 1
    assert "which meets it on the cpu, so cuda computes otherwise" in gate["reason"]
    assert "options: {use_tf32: 0}" in gate["reason"]


@needs_cuda
def test_nodes_without_a_kernel_fall_back_by_name_and_are_counted(project: Project):
    _write_mixed(project.root / "recipes/models/mixed.onnx")
    recipe = MLP.replace("mlp.onnx", "mixed.onnx").replace(", metric: accuracy", "")
    project.recipe("mixed", f"{recipe}providers: {{cuda: {{min_nodes: 100%, options: {{use_tf32: 0}}}}, cpu: {{}}}}\n")
    done = project.make("mixed")
    assert done.code == 1
    gate = gates(done, "mixed:default")["placement", "cuda"]
    assert (gate["verdict"], gate["measured"]) == ("failed", 3 / 4)
    twin = json.loads((project.root / "reports/mixed.json").read_text())
    facts = twin["targets"][0]["placements"][0]["facts"]
    (node,) = facts["assignment"]["fell_back"]
    assert (node["node"], node["operator"], node["provider"]) == ("sinh", "Sinh", "CPUExecutionProvider")
    assert node["reason"] == "CUDA has no kernel for Sinh with these types"
    assert facts["profile"]["copies"] == 2
    page = (project.root / "reports/mixed.html").read_text()
    assert "CUDA has no kernel for Sinh with these types" in page


@needs_cuda
def test_what_the_device_refuses_fails_with_its_words(project: Project):
    project.recipe("refused", f"{MLP}providers: {{cuda: {{options: {{device_id: 4097}}}}}}\n")
    done = project.make("refused", "-k")
    assert done.code == 1
    failures = [e["failure"] for e in done.events if e["event"] == "action" and e["status"] == "failed"]
    assert {failure["code"] for failure in failures} == {"provider-refuses"}
    assert all("Invalid device ID: 4097" in failure["message"] for failure in failures)


@needs_cuda
def test_a_session_is_tuned_on_the_device(project: Project):
    tuned = "session: {auto: latency}\nbenchmark: {min_seconds: 0.05}\n"
    project.recipe("tuned", f"{MLP}providers: {{cuda: {EXACT}}}\n{tuned}")
    done = project.make("tuned")
    assert done.code == 0, done.out
    assert "tuned/tune@cuda" in done.ran
    (target,) = json.loads((project.root / "reports/tuned.json").read_text())["targets"]
    assert target["tuning"]["provider"] == "cuda"
    assert target["tuning"]["tried"]


@needs_cuda
@apart
def test_the_runtime_computes_on_the_device(project: Project, built: Done):
    model = load(project.root / "build/mlp/fp32", provider="cuda")
    cpu = load(project.root / "build/mlp/fp32", provider="cpu")
    assert model.provider == "CUDAExecutionProvider"
    x = np.random.default_rng(1).normal(size=(150, 8)).astype(np.float32)
    expected = cpu.run_batches({"x": x})["y"]
    np.testing.assert_allclose(model.run(x=x[:64])["y"], expected[:64], rtol=1e-4, atol=1e-4)
    for double_buffer in (False, True):
        found = model.run_batches({"x": x}, double_buffer=double_buffer)["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@needs_cuda
def test_doctor_names_the_device(project: Project):
    found = json.loads(project.run("doctor", "--format", "json").out)["providers"]["cuda"]
    assert found["present"] is True
    assert found["devices"][0]["name"].startswith("NVIDIA")


@needs_tensorrt
def test_tensorrt_takes_the_nodes_and_is_measured_against_the_source(project: Project):
    project.recipe(
        "engine", f"{MLP}providers: {{tensorrt: {{min_nodes: 95%, tolerance: {{outputs: {{y: {{atol: 0.05}}}}}}}}}}\n"
    )
    done = project.make("engine")
    assert done.code == 0, done.out
    found = gates(done, "engine:default")
    assert found["placement", "tensorrt"]["verdict"] == "passed"
    assert found["tolerance.y.atol", "tensorrt"]["verdict"] == "passed"
    facts = json.loads((project.root / "reports/engine.json").read_text())["targets"][0]["placements"][0]["facts"]
    assert facts["got"][0] == "TensorrtExecutionProvider"


def _write_mixed(file: Path) -> None:
    """Write a model with one operator that CUDA has no kernel for."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h1"], "fc1/MatMul"),
        helper.make_node("Relu", ["h1"], ["h2"], "relu"),
        helper.make_node("Sinh", ["h2"], ["h3"], "sinh"),
        helper.make_node("MatMul", ["h3", "w2"], ["y"], "fc2/MatMul"),
    ]
    weights = {"w1": rng.normal(size=(8, 16)) / 8, "w2": rng.normal(size=(16, 4)) / 8}
    graph = helper.make_graph(
        nodes,
        "mixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), file)
