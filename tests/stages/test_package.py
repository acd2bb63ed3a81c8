"""The package stage: what was validated, byte for byte, plus metadata; refused when it is not what the recipe says."""

from __future__ import annotations

import shutil

import msgspec
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.digest import digest_file
from onnxbuild.data.calls import write_calls
from onnxbuild.ir.canonical import canonicalize
from onnxbuild.ir.check import check_model_file
from onnxbuild.ir.model import MODEL, WEIGHTS, write_model
from onnxbuild.recipe.types import Axis, Input, Output, Package, Session
from onnxbuild.stages import package
from onnxbuild.stages.package import PACKAGE, PackageParams
from onnxbuild.stages.stage import Workspace

SIZE = 600
PARAMS = PackageParams(
    package=Package(),
    session=Session(),
    inputs=(Input(name="x", dtype="float32", shape=("batch", SIZE)),),
    outputs=(Output(name="y"),),
    axes={"batch": Axis(max=8)},
    opset=20,
    ir_version=10,
)


def workspace(tmp_path, node: onnx.NodeProto | None = None, domain: str = "com.microsoft") -> Workspace:
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((SIZE, SIZE), dtype=np.float32), "w")
    graph = helper.make_graph(
        [node or helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", SIZE])],
        [weight],
    )
    imports = [helper.make_opsetid("", 20), helper.make_opsetid(domain, 1)]
    model = ir.from_proto(helper.make_model(graph, opset_imports=imports, ir_version=10))
    model.metadata_props["team"] = "before"
    canonicalize(model)
    write_model(model, tmp_path / "in")
    for file in (tmp_path / "in").iterdir():
        file.chmod(0o444)
    (tmp_path / "scratch").mkdir()
    return Workspace({"model": tmp_path / "in"}, {}, tmp_path / "out", tmp_path / "scratch", tmp_path)


def test_without_metadata_the_bytes_are_those_that_were_validated(tmp_path):
    facts = PACKAGE.run(PARAMS, workspace(tmp_path))
    for name in (MODEL, WEIGHTS):
        delivered = tmp_path / "out" / "package" / name
        assert digest_file(delivered) == digest_file(tmp_path / "in" / name) == facts.digests[name]
    assert set(facts.digests) == {MODEL, WEIGHTS}
    assert facts.model.opsets == {"": 20}


def test_how_much_of_a_model_is_left_after_deflate(tmp_path, monkeypatch):
    files = {name: tmp_path / name for name in ("noise", "zeros")}
    files["noise"].write_bytes(np.random.default_rng(0).bytes(50_000))
    files["zeros"].write_bytes(bytes(5_000_000))
    assert package._compressed([files["noise"]]) == 50_000
    assert 50_000 < package._compressed([*files.values()]) < 90_000
    monkeypatch.setattr(package, "MOST_COMPRESSED", 5_000_000)
    assert package._compressed([*files.values()]) is None
    facts = PACKAGE.run(PARAMS, workspace(tmp_path))
    assert 0.8 < facts.compressed / facts.model.bytes < 1.0


def test_metadata_goes_into_the_graph_file_only(tmp_path):
    params = msgspec.structs.replace(PARAMS, package=Package(metadata={"team": "kiosk", "licence": "MIT"}))
    facts = PACKAGE.run(params, workspace(tmp_path))
    package = tmp_path / "out" / "package"
    assert digest_file(package / WEIGHTS) == digest_file(tmp_path / "in" / WEIGHTS)
    assert facts.model.metadata == {"licence": "MIT", "team": "kiosk"}
    session = ort.InferenceSession(package / MODEL, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"licence": "MIT", "team": "kiosk"}
    check_model_file(package, infer_shapes=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"inputs": (Input(name="image", dtype="float32", shape=("batch", SIZE)),)}, "inputs are"),
        ({"inputs": (Input(name="x", dtype="float32", shape=("n", SIZE)),)}, "dynamic .n. is declared"),
        ({"inputs": (Input(name="x", dtype="float64", shape=("batch", SIZE)),)}, "float64"),
        ({"outputs": (Output(name="logits"),)}, "outputs are"),
        ({"opset": 21}, "opset is 20"),
        ({"ir_version": 9}, "IR version is 10"),
    ],
)
def test_what_is_not_as_the_recipe_says_is_not_delivered(tmp_path, change, reason):
    with pytest.raises(StageFailure, match=reason) as caught:
        PACKAGE.run(msgspec.structs.replace(PARAMS, **change), workspace(tmp_path))
    assert caught.value.code == "contract-broken"


def test_machine_tied_operators_need_a_package_that_is_not_portable(tmp_path):
    node = helper.make_node("ReorderInput", ["x"], ["y"], domain="com.microsoft.nchwc")
    space = workspace(tmp_path, node, "com.microsoft.nchwc")
    with pytest.raises(StageFailure, match="ReorderInput") as caught:
        PACKAGE.run(PARAMS, space)
    assert caught.value.code == "not-portable"
    assert "portable: false" in (caught.value.hint or "")
    facts = PACKAGE.run(msgspec.structs.replace(PARAMS, package=Package(portable=False)), space)
    assert facts.model.operators == {"com.microsoft.nchwc.ReorderInput": 1}


def test_contrib_operators_are_portable(tmp_path):
    node = helper.make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft", alpha=2.0)
    facts = PACKAGE.run(PARAMS, workspace(tmp_path, node))
    assert facts.model.operators == {"com.microsoft.FusedMatMul": 1}


def test_a_model_that_does_not_load_is_not_delivered(tmp_path):
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    with pytest.raises(StageFailure) as caught:
        PACKAGE.run(PARAMS, workspace(tmp_path, node))
    assert caught.value.code == "model-does-not-load"


def with_calls(space: Workspace, tmp_path) -> Workspace:
    rows = np.random.default_rng(1).standard_normal((3, 2, SIZE), dtype=np.float32)
    write_calls(tmp_path / "calls", ({"x": row} for row in rows))
    space.inputs["calls"] = tmp_path / "calls"
    return space


@pytest.mark.parametrize("portable", [True, False])
def test_ort_format_is_delivered_beside_and_computes_the_same(tmp_path, portable):
    package = Package(formats=("onnx", "ort"), portable=portable)
    facts = PACKAGE.run(msgspec.structs.replace(PARAMS, package=package), with_calls(workspace(tmp_path), tmp_path))
    assert set(facts.digests) == {MODEL, WEIGHTS, "model.ort"}
    folder = tmp_path / "out/package"
    assert (folder / "model.ort").read_bytes()[4:8] == b"ORTM"
    x = np.random.default_rng(2).standard_normal((4, SIZE), dtype=np.float32)
    one, other = (
        ort.InferenceSession(folder / name, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for name in (MODEL, "model.ort")
    )
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_ort_format_is_the_same_bytes_each_time(tmp_path):
    params = msgspec.structs.replace(PARAMS, package=Package(formats=("onnx", "ort")))
    digests = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        digests.append(PACKAGE.run(params, with_calls(workspace(tmp_path / name), tmp_path / name)).digests)
    assert digests[0] == digests[1]


def test_a_format_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    from onnxbuild.ort import ort_format

    def write(model, folder, scratch, session):
        changed = tmp_path / "changed"
        shutil.copytree(model.parent, changed)
        weights = bytearray((changed / WEIGHTS).read_bytes())
        weights[-1] ^= 0x40
        (changed / WEIGHTS).chmod(0o644)
        (changed / WEIGHTS).write_bytes(weights)
        return original(changed / MODEL, folder, scratch, session)

    original = ort_format.write_ort
    monkeypatch.setattr(ort_format, "write_ort", write)
    params = msgspec.structs.replace(PARAMS, package=Package(formats=("onnx", "ort")))
    with pytest.raises(StageFailure) as caught:
        PACKAGE.run(params, with_calls(workspace(tmp_path), tmp_path))
    assert caught.value.code == "format-changed-results"
