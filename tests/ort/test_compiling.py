"""Compiling ahead: what a provider takes is in the file, what it leaves is counted, and nothing is no success."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.compiled import interface_of, read_parts
from onnxbuild.ort.compiling import compile_on, nothing_compiled
from onnxbuild.ort.facts import Device
from onnxbuild.ort.providers import Absent
from onnxbuild.recipe.providers import TABLE, Plugin, ProviderEntry
from onnxbuild.recipe.types import Session
from tests.here import apart, needs

CPU = "CPUExecutionProvider"
needs_qnn = needs("qnn")


def write(folder: Path, operators: Sequence[str], size: int | str = 4) -> Path:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [size]) for name in ("x", "y"))
    names = ["x", *(f"h{number}" for number in range(len(operators) - 1)), "y"]
    nodes = [
        helper.make_node(operator, [names[i]], [names[i + 1]], f"{operator.lower()}.{i}")
        for i, operator in enumerate(operators)
    ]
    graph = helper.make_graph(nodes, "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A plug-in that compiles nothing: the CPU's own device."""
    (tmp_path / "plug_in_of_mine.py").write_text("def get_library_path():\n    return '/nowhere/libmine.so'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugin = Plugin("numpy", "plug_in_of_mine", ("CPU",))
    monkeypatch.setitem(TABLE, "mine", ProviderEntry("mine", CPU, needs="a device", get="pip", plugin=plugin))
    return "mine"


@needs_qnn
@apart
def test_what_is_left_stands_between_what_was_compiled(tmp_path: Path):
    model, out = write(tmp_path, ["Relu", "Erf", "Relu"]), tmp_path / "out.onnx"
    devices = compile_on(model, out, "qnn", {}, Session())
    assert not isinstance(devices, Absent)
    assert all(isinstance(device, Device) for device in devices)
    found = read_parts(out)
    assert (found.parts, found.left) == (2, {"Erf": 1})
    assert found.sdk
    assert found.compatibility
    assert interface_of(out) == interface_of(model) == ["input 'x' float[4]", "output 'y' float[4]"]


@needs_qnn
@apart
def test_a_provider_that_takes_no_node_says_why(tmp_path: Path):
    with pytest.raises(StageFailure) as caught:
        compile_on(write(tmp_path, ["Erf"]), tmp_path / "out.onnx", "qnn", {}, Session())
    assert caught.value.code == "nothing-compiled"
    assert "`Erf` are not supported by QNN EP" in caught.value.message
    assert "('erf.0')" in caught.value.message


def test_a_provider_that_compiles_nothing_at_all(tmp_path: Path, plug_in: str):
    with pytest.raises(StageFailure) as caught:
        compile_on(write(tmp_path, ["Relu"]), tmp_path / "out.onnx", plug_in, {}, Session())
    assert caught.value.code == "nothing-compiled"
    assert f"{CPU} is there and compiled no node of the model" in caught.value.message


def test_a_provider_that_is_not_there(tmp_path: Path, plug_in: str):
    found = compile_on(write(tmp_path, ["Relu"]), tmp_path / "out.onnx", plug_in, {"device_type": "NPU"}, Session())
    assert isinstance(found, Absent)
    assert "offers no NPU" in found.why


def test_reasons_are_few_and_counted():
    log = "".join(f"\tOperator type: Erf Node name: n{i} Node index: {i}\n\tREASON : it is odd\n" for i in range(5))
    text = nothing_compiled("Mine", log).message
    assert "it is odd ('n0'); it is odd ('n1'); it is odd ('n2'), and 2 more" in text
    general = "OrtEp::GetCapability() for Mine failed with error: [ONNXRuntimeError] : 11 : EP_FAIL : no backend\n"
    assert nothing_compiled("Mine", general + log).message.endswith(": no backend")
    assert nothing_compiled("Mine").message.endswith("nothing was said why")
