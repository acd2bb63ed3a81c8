"""Opening on a provider: what is there, what is not and why, and never a session on something else."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from onnx import TensorProto, helper

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ort import providers
from onnxbuild.ort.facts import Device
from onnxbuild.ort.placement import RECORD, read_assignment
from onnxbuild.ort.providers import Absent, Opened, heard, open_on, present
from onnxbuild.recipe.providers import TABLE, Plugin, ProviderEntry, Simulator

CPU = "CPUExecutionProvider"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y"))
    nodes = [helper.make_node("Exp", ["x"], ["h"], "exp"), helper.make_node("Sin", ["h"], ["y"], "sin")]
    graph = helper.make_graph(nodes, "g", [x], [y])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "model.onnx"
    )
    return tmp_path / "model.onnx"


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A plug-in under the CPU's name: its device is listed already, so all but the registration is real."""
    (tmp_path / "plug_in_of_mine.py").write_text("def get_library_path():\n    return '/nowhere/libmine.so'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(TABLE, "mine", entry(CPU))
    return "mine"


def entry(full_name: str, package: str = "numpy") -> ProviderEntry:
    plugin = Plugin(package, "plug_in_of_mine", ("CPU",))
    return ProviderEntry("mine", full_name, needs="a device of mine", get="pip install mine", plugin=plugin)


def test_the_cpu_is_there():
    found = present("cpu")
    assert not isinstance(found, Absent)
    assert found[0].kind == "CPU"


def test_a_device_without_words_has_its_makers_name(monkeypatch: pytest.MonkeyPatch):
    """As WebGPU lists an H200 on Linux."""
    gpu = providers.ort.OrtHardwareDeviceType.GPU
    metadata = {"Discrete": "1", "pci_bus_id": "0000:00:06.0"}
    hardware = SimpleNamespace(type=gpu, vendor="", vendor_id=4318, device_id=9013, metadata=metadata)
    listed = SimpleNamespace(ep_name="WebGpuExecutionProvider", device=hardware, ep_metadata={"version": "0.4.0"})
    monkeypatch.setattr(providers.ort, "get_ep_devices", lambda: [listed])
    (found,) = providers.devices_of(TABLE["webgpu"])
    assert (found.title, found.library) == ("GPU NVIDIA", "0.4.0")


def test_a_provider_that_the_build_lacks(model: Path):
    other = "directml" if sys.platform != "win32" else "coreml"
    found = open_on(model, other, {})
    assert isinstance(found, Absent)
    assert "this build of ONNX Runtime" in found.why


def test_a_plug_in_is_opened_on_its_device(model: Path, plug_in: str):
    opened = open_on(model, plug_in, {}, settings={RECORD: "1"})
    assert isinstance(opened, Opened)
    assigned = read_assignment(opened.session.get_provider_graph_assignment_info(), CPU)
    assert assigned.got(CPU) == assigned.nodes == 2
    assert opened.devices[0].kind == "CPU"


def test_a_plug_in_that_is_not_installed(model: Path, plug_in: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(TABLE, "mine", entry(CPU, package="surely-not-installed"))
    found = open_on(model, plug_in, {})
    assert found == Absent("the package surely-not-installed is not installed; to get it: pip install mine")


def test_a_plug_in_whose_library_does_not_load(model: Path, plug_in: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(TABLE, "mine", entry("MineExecutionProvider"))
    found = open_on(model, plug_in, {})
    assert isinstance(found, Absent)
    assert "there is no /nowhere/libmine.so; run: pip install --force-reinstall --no-deps numpy" in found.why


def test_a_plug_in_without_a_device_of_the_kind(model: Path, plug_in: str):
    found = open_on(model, plug_in, {"device_type": "NPU"})
    assert isinstance(found, Absent)
    assert "offers no NPU on this machine; it needs a device of mine" in found.why


def test_what_simulates_a_device_is_called_that_and_chosen(model: Path, plug_in: str, monkeypatch: pytest.MonkeyPatch):
    """On the machines it is made for, and unless the recipe says otherwise; nowhere else is anything simulated."""
    given = []
    monkeypatch.setattr(
        providers.ort.SessionOptions, "add_provider_for_devices", lambda self, devices, options: given.append(options)
    )

    def tried(machine: str, **options: str) -> tuple[Device, dict[str, str]]:
        simulator = Simulator("CPU", (machine,), "my simulator", {"backend": "it"}, instead=("backend", "path"))
        mine = replace(entry(CPU), plugin=Plugin("numpy", "plug_in_of_mine", ("CPU",), simulator))
        monkeypatch.setitem(TABLE, "mine", mine)
        opened = open_on(model, plug_in, {"device_type": "CPU", **options})
        assert isinstance(opened, Opened)
        return opened.devices[0], given.pop()

    device, options = tried(platform.machine(), depth="1")
    assert (device.name, device.simulated, options) == ("my simulator", True, {"depth": "1", "backend": "it"})
    assert tried(platform.machine(), path="/mine")[1] == {"path": "/mine"}
    device, options = tried("another machine")
    assert (device.name == "my simulator", device.simulated, options) == (False, False, {})


def test_a_model_that_a_present_provider_refuses_is_not_opened_elsewhere(tmp_path: Path, plug_in: str):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Nonesuch", ["x"], ["x2"])], "g", [x], [x])
    file = tmp_path / "model.onnx"
    file.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    )
    for name in ("cpu", plug_in):
        with pytest.raises(StageFailure) as caught:
            open_on(file, name, {})
        assert caught.value.code == "provider-refuses"
        assert f"{CPU} is there and refuses the model" in caught.value.message


def test_an_error_is_not_mended_by_opening_on_the_cpu(model: Path, plug_in: str, monkeypatch: pytest.MonkeyPatch):
    """ONNX Runtime's constructor retries on the CPU when it may: then this would return a session."""
    made = []

    class Session(providers.ort.InferenceSession):  # type: ignore[misc]
        def _create_inference_session(self, asked, *arguments, **options):
            made.append(asked)
            self._fallback_providers = [CPU]
            if asked != [CPU]:
                raise RuntimeError("EP_FAIL : the device went away")
            super()._create_inference_session(asked, *arguments, **options)

    monkeypatch.setattr(providers.ort, "InferenceSession", Session)
    found = open_on(model, plug_in, {})
    assert isinstance(found, Absent)
    assert "the device went away" in found.why
    assert [CPU] not in made


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "\x1b[1;31m2026-11-25 [E:onnxruntime:Default, provider_bridge_ort.cc:2458] Failed to load library "
            "/site/libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object file: "
            "No such file or directory\x1b[m",
            "its libraries do not load: libcublasLt.so.13 is missing",
        ),
        ("[ONNXRuntimeError] : 1 : FAIL : no CUDA-capable device is detected.", "no CUDA-capable device is detected"),
        ("/onnxruntime_src/a.cc:729 void f(int, char) Please install TensorRT.", "Please install TensorRT"),
        ("", "the session was opened without it, and nothing was said why"),
    ],
)
def test_reasons_are_short(text: str, reason: str):
    assert providers._reason(text) == reason


def test_what_native_code_says_is_heard_and_still_said(capfd: pytest.CaptureFixture[str]):
    with heard() as log:
        os.write(2, b"from below\n")
    assert log.text == "from below\n"
    assert "from below" in capfd.readouterr().err
