"""Models compiled ahead through the real command: for Qualcomm's provider, which simulates its device on a PC."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxbuild.recipe.providers import COMPILING, TABLE
from onnxbuild.runtime import PackageError, load
from tests.here import apart, needs, probe, simulates
from tests.project import MLP, ONE_ROW, Done, Project, write_mlp

needs_qnn = needs("qnn")
needs_simulator = pytest.mark.skipif(not simulates("qnn"), reason="this machine has a Qualcomm device, or no qnn")
without_openvino = pytest.mark.skipif(probe("openvino").present, reason="openvino is here")
COMPILED = "package: {formats: [onnx, compiled], portable: false}\n"
NEAR = "tolerance: {outputs: {y: {atol: 0.05}}}"  # it computes in float16


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("compiled"))
    write_mlp(made)
    return made


@pytest.fixture(scope="module")
def compiled(project: Project) -> Done:
    done = make(project)
    assert done.code == 0, done.out
    return done


@pytest.fixture
def delivered(project: Project, compiled: Done, tmp_path: Path) -> Path:
    return Path(shutil.copytree(project.root / "build/mlp/default", tmp_path / "delivered"))


def make(project: Project, options: str = "{}", *arguments: str) -> Done:
    providers = f"providers: {{cpu: {{}}, qnn: {{options: {options}, {NEAR}}}}}\n"
    benchmark = "benchmark: {min_seconds: 0.01, memory: false}\n"
    project.recipe("mlp", f"{ONE_ROW}{providers}{benchmark}{COMPILED}")
    return project.make(*arguments)


def operators(file: Path) -> list[str]:
    return [node.op_type for node in onnx.load(file).graph.node]


def manifest_of(project: Project) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((project.root / "build/mlp/default/manifest.json").read_text())
    return content


@needs_qnn
def test_what_the_provider_compiled_is_delivered_beside_the_model(project: Project, compiled: Done):
    folder = project.root / "build/mlp/default"
    assert {file.name for file in folder.iterdir()} == {"manifest.json", "model.onnx", "model.qnn.onnx"}
    assert operators(folder / "model.qnn.onnx") == ["EPContext"]
    assert "EPContext" not in operators(folder / "model.onnx")
    manifest = manifest_of(project)
    assert set(manifest["files"]) == {"model.onnx", "model.qnn.onnx"}
    told = manifest["compiled"]["qnn"]
    assert (told["file"], bool(told["device"]), bool(told["sdk"])) == ("model.qnn.onnx", True, True)
    assert told["tied_to"] == project_hardware(compiled, project)
    assert manifest["tied_to"] is None, "the model itself is as portable as ever"


def project_hardware(done: Done, project: Project) -> str:
    twin = json.loads((project.root / "reports/mlp.json").read_text())
    hardware = twin["provenance"]["hardware"]
    return f"{hardware['cpu']}; {hardware['instruction sets']}"


@needs_qnn
def test_what_is_delivered_is_what_was_measured(project: Project, compiled: Done):
    assert {"mlp/compile@qnn", "mlp/validate@qnn", "mlp/benchmark@qnn"} <= set(compiled.ran)
    twin = json.loads((project.root / "reports/mlp.json").read_text())
    inputs = {action["name"]: action["inputs"] for action in twin["actions"]}
    assert "mlp/compile@qnn" in inputs["mlp/validate@qnn"]
    assert "mlp/compile@qnn" not in inputs["mlp/place@qnn"]
    (target,) = twin["targets"]
    (model,) = target["compiled"]
    assert (model["facts"]["parts"], model["facts"]["left"]) == (1, {})
    timed = {each["provider"]: each["facts"] for each in target["benchmarks"]}
    assert timed["qnn"]["loading"]["cold"] > 0
    assert timed["qnn"]["plain_loading"]["cold"] > 0
    assert timed["cpu"]["plain_loading"] is None
    page = (project.root / "reports/mlp.html").read_text()
    assert "Compiled models" in page
    assert "model.qnn.onnx" in page


@needs_qnn
def test_nothing_to_do_compiles_nothing(project: Project, compiled: Done):
    make(project)
    again = project.make()
    assert (again.code, again.ran) == (0, [])
    file = project.root / "build/mlp/default/model.qnn.onnx"
    for spoiled in (file.unlink, lambda: file.write_bytes(b"other")):
        spoiled()
        assert project.make().ran == []
        assert operators(file) == ["EPContext"]


@needs_qnn
def test_another_option_compiles_again_and_the_old_one_is_remembered(project: Project, compiled: Done):
    before = manifest_of(project)["files"]
    other = make(project, "{htp_graph_finalization_optimization_mode: 3}")
    assert {"mlp/compile@qnn", "mlp/validate@qnn", "mlp/place@qnn"} <= set(other.ran)
    assert not {"mlp/validate@cpu", "mlp/canonicalize", "mlp/package"} & set(other.ran)
    after = manifest_of(project)["files"]
    assert (before["model.onnx"], before["model.qnn.onnx"]) != (after["model.onnx"], after["model.qnn.onnx"])
    assert before["model.onnx"] == after["model.onnx"]
    assert make(project).ran == []
    assert manifest_of(project)["files"] == before


@needs_simulator
def test_what_a_simulator_says_is_unverified_everywhere(project: Project, compiled: Done):
    found = {(e["gate"], e["provider"]): e for e in compiled.events if e["event"] == "gate"}
    for gate in ("placement", "tolerance.y.atol"):
        assert (found[gate, "qnn"]["verdict"], found[gate, "qnn"]["measured"]) == ("unverified", None)
        assert "simulator" in found[gate, "qnn"]["reason"]
    assert found["tolerance.y.atol", "cpu"]["verdict"] == "passed"
    assert compiled.event("verdict")["verdict"] == "unverified"
    assert "cpu, qnn (unverified)" in (project.root / "reports/index.html").read_text()
    assert "simulator" in manifest_of(project)["compiled"]["qnn"]["device"]
    assert project.run("accept", "mlp").code == 0
    assert project.make("--locked").code == 0
    lock = json.loads((project.root / "recipes/mlp.lock.json").read_text())["targets"]["default"]
    assert "simulator" in lock["placement"]["qnn"]["absent"]
    assert set(lock["output"]) == {"model.onnx"}, "what was compiled belongs to one device"
    assert not [name for name in lock["latencies"] if name.endswith("@qnn")]
    assert set(lock["metrics"]) == {"cpu"}, "a device may compute otherwise"
    (project.root / "recipes/mlp.lock.json").unlink()


@needs_simulator
def test_nothing_is_chosen_by_a_simulators_times(tmp_path: Path):
    project = Project(tmp_path / "chosen")
    write_mlp(project)
    tuned = "  tuned: {session: {auto: latency}}\n"
    auto = "  auto: {quantization: {mode: auto, auto: {candidates: [dynamic], objective: latency, provider: qnn}}}\n"
    project.recipe("mlp", f"{ONE_ROW}providers: {{qnn: {{{NEAR}}}}}\nvariants:\n{tuned}{auto}")
    done = project.make("-k")
    (warning,) = done.event("action", stage="tune")["warnings"]
    assert warning["code"] == "not-tuned"
    assert "simulator" in warning["message"]
    failure = done.event("action", stage="auto")["failure"]
    assert failure["code"] == "no-device"
    assert "simulator" in failure["message"]


@needs_qnn
@apart
def test_the_runtime_opens_what_was_compiled(delivered: Path):
    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(1, 8)
    plain = load(delivered).run(x=x)["y"]
    ours = load(delivered, provider="qnn", verify=True)
    assert ours.provider == "QNNExecutionProvider"
    np.testing.assert_allclose(ours.run(x=x)["y"], plain, atol=0.05)
    shutil.move(delivered / "model.onnx", delivered / "elsewhere.onnx")
    np.testing.assert_allclose(load(delivered, provider="qnn").run(x=x)["y"], plain, atol=0.05)
    with pytest.raises(PackageError, match=r"model\.onnx"):
        load(delivered, provider="qnn", compiled=False)
    (delivered / "model.qnn.onnx").unlink()
    with pytest.raises(PackageError, match=r"model\.qnn\.onnx: it was delivered and is not there$"):
        load(delivered, provider="qnn")


@needs_qnn
@apart
def test_the_runtime_says_for_what_a_refused_file_was_compiled(delivered: Path):
    x = np.ones((1, 8), np.float32)
    spoil(delivered / "model.qnn.onnx", lambda content: b"of another device" + content[17:])
    manifest = json.loads((delivered / "manifest.json").read_text())
    options = {"htp_graph_finalization_optimization_mode": "3"}  # or another device's architecture
    (delivered / "manifest.json").write_text(json.dumps({**manifest, "provider_options": {"qnn": options}}))
    with pytest.raises(PackageError, match=r"which was compiled for .*, with htp_\w+_mode 3, on .*compiled=False"):
        load(delivered, provider="qnn")
    assert load(delivered, provider="qnn", compiled=False).run(x=x)["y"].shape == (1, 4)
    with warnings.catch_warnings(action="error"):
        assert load(delivered, provider="qnn", allow_fallback=True).provider == "CPUExecutionProvider"


def spoil(file: Path, change: Callable[[bytes], bytes]) -> None:
    model = onnx.load(file)
    for attribute in model.graph.node[0].attribute:
        if attribute.name == "ep_cache_context":
            attribute.s = change(attribute.s)
    onnx.save(model, file)


@needs_qnn
@apart
def test_the_cpu_never_gets_what_another_compiled(delivered: Path, monkeypatch: pytest.MonkeyPatch):
    """Where the provider is gone, the fall-back opens the model that every machine can run."""
    from onnxbuild.runtime import providers

    monkeypatch.setitem(providers.PLUGINS, "qnn", ("a_module_that_is_not_there", ("NPU",)))
    model = load(delivered, provider="qnn", allow_fallback=True)
    assert model.provider == "CPUExecutionProvider"
    assert model.run(x=np.ones((1, 8), np.float32))["y"].shape == (1, 4)


@needs_qnn
def test_a_model_of_which_nothing_compiles_fails_and_says_what_mends_it(tmp_path: Path):
    """Qualcomm's provider takes no dynamic sizes; ONNX Runtime alone would copy the model and say nothing."""
    project = Project(tmp_path / "dynamic")
    write_mlp(project)
    project.recipe("mlp", f"{MLP}providers: {{cpu: {{}}, qnn: {{}}}}\n{COMPILED}")
    done = project.make("-k")
    assert done.code == 1
    failure = done.event("action", action="mlp/compile@qnn")["failure"]
    assert failure["code"] == "nothing-compiled"
    assert "Cannot get shape" in failure["message"]
    assert "'batch' under `inputs`" in failure["hint"]
    assert not (project.root / "build/mlp").exists()


@needs_qnn
def test_a_share_that_was_counted_on_qnn_alone_is_missed_and_the_cpu_knows_nothing_of_it(tmp_path: Path):
    project = Project(tmp_path / "share")
    write_mlp(project)
    limits = "tolerance: {outputs: {y: {atol: 1.0e-9, share: 99%}}}"
    project.recipe("mlp", f"{ONE_ROW}providers: {{cpu: {{}}, qnn: {{{limits}}}}}\n{COMPILED}")
    done = project.make()
    assert done.code == 1, done.err
    gate = done.event("gate", gate="tolerance.y.atol", provider="qnn")
    assert gate["verdict"] == "failed"
    assert "first missed after canonicalize" in gate["reason"]
    assert "on the cpu" not in gate["reason"]
    (target,) = json.loads((project.root / "reports/mlp.json").read_text())["targets"]
    assert target["compiled"][0]["facts"]["parts"] == 1
    assert target["compiled"][0].get("file") is None


@needs_qnn
def test_a_backend_that_does_not_load_is_no_success(tmp_path: Path):
    project = Project(tmp_path / "backend")
    write_mlp(project)
    options = "options: {backend_path: /nowhere/libQnnNothing.so}"
    project.recipe("mlp", f"{ONE_ROW}providers: {{qnn: {{{options}}}}}\n{COMPILED}")
    done = project.make("-k")
    failure = done.event("action", action="mlp/compile@qnn")["failure"]
    assert failure["code"] == "nothing-compiled"
    assert "libQnnNothing.so" in failure["message"]


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in COMPILING if name != "qnn"])
@apart
def test_every_provider_that_compiles_and_is_here_is_tried(tmp_path: Path, name: str):
    project = Project(tmp_path / "here")
    write_mlp(project)
    rough = "tolerance: {outputs: {y: {atol: 0.5}}}"  # of values up to 16, in bfloat16 where the CPU has it
    project.recipe("mlp", f"{ONE_ROW}providers: {{cpu: {{}}, {name}: {{{rough}}}}}\n{COMPILED}")
    done = project.make()
    assert done.code == 0, done.out
    assert done.event("verdict")["verdict"] == "passed"
    folder = project.root / "build/mlp/default"
    assert "EPContext" in operators(folder / f"model.{name}.onnx")
    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(1, 8)
    model = load(folder, provider=name)
    assert model.provider == TABLE[name].full_name
    np.testing.assert_allclose(model.run(x=x)["y"], load(folder).run(x=x)["y"], atol=0.5)


@without_openvino
@apart
def test_a_provider_that_is_not_here_delivers_nothing_compiled(tmp_path: Path):
    project = Project(tmp_path / "absent")
    write_mlp(project)
    project.recipe("mlp", f"{ONE_ROW}providers: {{cpu: {{}}, openvino: {{}}}}\n{COMPILED}")
    done = project.make()
    assert done.code == 0, done.out
    assert done.event("verdict")["verdict"] == "unverified"
    manifest = manifest_of(project)
    assert set(manifest["files"]) == {"model.onnx"}
    told = manifest["compiled"]["openvino"]
    assert told["file"] is None
    assert told["why"]
    page = (project.root / "reports/mlp.html").read_text()
    assert "Compiled ahead by" in page
    folder = project.root / "build/mlp/default"
    model = load(folder, provider="openvino", allow_fallback=True)
    assert model.provider == "CPUExecutionProvider"


def test_what_must_not_be_compiled_is_refused_at_its_place(tmp_path: Path):
    project = Project(tmp_path / "refused")
    write_mlp(project)
    project.recipe("mlp", f"{MLP}providers: {{qnn: {{}}}}\npackage: {{formats: [onnx, compiled]}}\n")
    done = project.make()
    assert done.code == 2
    assert "recipes/mlp.yaml:9:27" in done.err
    assert "[not-portable]" in done.err
