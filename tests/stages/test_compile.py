"""The compile stage: all in one file, the same inputs and outputs, and the plain model where nobody compiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.canonical import canonicalize
from onnxbuild.ir.model import MODEL, WEIGHTS, write_model
from onnxbuild.ort import compiling
from onnxbuild.ort.providers import Absent, Opened, open_on
from onnxbuild.recipe.types import Axis, Session
from onnxbuild.stages import compile as stage
from onnxbuild.stages.compile import COMPILE, CompileParams
from onnxbuild.stages.stage import Workspace
from tests.here import apart, needs

SIZE = 600
PARAMS = CompileParams(provider="qnn", session=Session())


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    """A model with its weights in a file of their own, one of them read by a node that qnn leaves."""
    weight = np.random.default_rng(0).standard_normal((SIZE, SIZE), dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"], "matmul"),
            helper.make_node("Mod", ["h", "m"], ["y"], "mod", fmod=1),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [SIZE, SIZE])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.abs(weight) + 1e3, "m")],
    )
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))
    canonicalize(model)
    write_model(model, tmp_path / "in")
    (tmp_path / "scratch").mkdir()
    return Workspace({"model": tmp_path / "in"}, {}, tmp_path / "out", tmp_path / "scratch", tmp_path)


@needs("qnn")
@apart
def test_all_of_it_is_in_one_file(work: Workspace):
    assert (work.inputs["model"] / WEIGHTS).exists()
    facts = COMPILE.run(PARAMS, work)
    folder = work.out / "compiled"
    assert [file.name for file in folder.iterdir()] == [MODEL]
    assert (facts.parts, facts.left, facts.bytes) == (1, {"Mod": 1}, (folder / MODEL).stat().st_size)
    opened = open_on(folder / MODEL, "qnn", {})
    assert isinstance(opened, Opened)
    x = np.random.default_rng(1).standard_normal((SIZE, SIZE), dtype=np.float32)
    plain = ort.InferenceSession(work.inputs["model"] / MODEL, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(opened.session.run(None, {"x": x})[0], plain.run(None, {"x": x})[0], atol=0.5)


def test_what_no_file_can_hold_is_refused_before_work(work: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stage, "MOST_BYTES", SIZE * SIZE * 8)
    monkeypatch.setattr(compiling, "compile_on", lambda *_: pytest.fail("it was asked to compile"))
    with pytest.raises(StageFailure) as caught:
        COMPILE.run(PARAMS, work)
    assert caught.value.code == "model-too-large"
    assert "leave compiled out" in (caught.value.hint or "")


def test_where_the_provider_is_not_here_the_plain_model_is_passed_on(work: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiling, "compile_on", lambda *_: Absent("it is elsewhere"))
    facts = COMPILE.run(PARAMS, work)
    assert (facts.absent, facts.parts) == ("it is elsewhere", 0)
    files = {file.name: file.read_bytes() for file in (work.out / "compiled").iterdir()}
    assert files == {file.name: file.read_bytes() for file in work.inputs["model"].iterdir()}


def test_a_copy_of_the_model_is_not_compiled(work: Workspace, monkeypatch: pytest.MonkeyPatch):
    """ONNX Runtime writes one without a word where a provider takes no node."""
    monkeypatch.setattr(compiling, "compile_on", lambda model, out, *_: (out.write_bytes(model.read_bytes()), ())[1])
    with pytest.raises(StageFailure) as caught:
        COMPILE.run(PARAMS, work)
    assert caught.value.code == "nothing-compiled"


@pytest.mark.parametrize("other", ["name", "type", "size"])
def test_other_inputs_or_outputs_are_refused(work: Workspace, monkeypatch: pytest.MonkeyPatch, other: str):
    def compile_otherwise(model: Path, out: Path, *_: object) -> tuple[()]:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [SIZE, SIZE])
        name, kind, size = (
            "z" if other == "name" else "y",
            TensorProto.FLOAT16 if other == "type" else TensorProto.FLOAT,
            1 if other == "size" else SIZE,
        )
        y = helper.make_tensor_value_info(name, kind, [SIZE, size])
        node = helper.make_node("EPContext", ["x"], [name], domain="com.microsoft")
        onnx.save(helper.make_model(helper.make_graph([node], "g", [x], [y])), out)
        return ()

    monkeypatch.setattr(compiling, "compile_on", compile_otherwise)
    with pytest.raises(StageFailure) as caught:
        COMPILE.run(PARAMS, work)
    assert caught.value.code == "changed-interface"
    assert "output 'y' float[600, 600]" in caught.value.message


def test_a_refusal_says_what_may_mend_it(work: Workspace, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise StageFailure("provider-refuses", "no")

    monkeypatch.setattr(compiling, "compile_on", refuse)
    hints = []
    for axes in ({}, {"batch": Axis(max=8)}):
        with pytest.raises(StageFailure) as caught:
            COMPILE.run(CompileParams(provider="qnn", session=Session(), axes=axes), work)
        hints.append(caught.value.hint or "")
    assert all("leave compiled out of `package.formats`" in hint for hint in hints)
    assert ["'batch'" in hint for hint in hints] == [False, True]
