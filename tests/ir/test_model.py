"""Writing and reading model artifacts: the same model, the same bytes; the same weights, the same weights file."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.digest import digest_file
from onnxbuild.ir import model as model_module
from onnxbuild.ir.model import INLINE_LIMIT, MODEL, WEIGHTS, add_metadata, read_model, read_model_file, write_model

LARGE = 600


def two_layers(
    *, swap: bool = False, constant: bool = False, names: tuple[str, str] = ("a.weight", "b.weight")
) -> ir.Model:
    """Return x @ a + b with a 1.4 MB weight `a`; `swap` lists the initializers the other way round."""
    rng = np.random.default_rng(0)
    first = numpy_helper.from_array(rng.standard_normal((LARGE, LARGE), dtype=np.float32), names[0])
    second = numpy_helper.from_array(rng.standard_normal(LARGE, dtype=np.float32), names[1])
    nodes = [helper.make_node("MatMul", ["x", names[0]], ["m"]), helper.make_node("Add", ["m", names[1]], ["y"])]
    weights = [second, first] if swap else [first, second]
    if constant:
        nodes.insert(0, helper.make_node("Constant", [], [names[0]], value=first))
        weights = [second]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", LARGE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", LARGE])],
        weights,
    )
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))


def tiny(tensor: onnx.TensorProto) -> ir.Model:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", tensor.data_type, list(tensor.dims))],
        [tensor],
    )
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))


def test_small_models_are_one_file(tmp_path):
    write_model(tiny(numpy_helper.from_array(np.arange(4.0), "w")), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [MODEL]


def test_large_weights_are_one_file_that_onnxruntime_reads(tmp_path):
    model = two_layers()
    write_model(model, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [MODEL, WEIGHTS]
    assert (tmp_path / MODEL).stat().st_size < 2000
    x = np.ones((2, LARGE), np.float32)
    y = ort.InferenceSession(tmp_path / MODEL, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    a, b = (v.const_value.numpy() for v in model.graph.initializers.values())
    np.testing.assert_allclose(y, x @ a + b, rtol=1e-4, atol=1e-4)
    onnx.checker.check_model(str(tmp_path / MODEL), full_check=True)


def test_weights_file_depends_on_weights_alone(tmp_path):
    variants = [two_layers(), two_layers(swap=True), two_layers(names=("z", "c")), two_layers(constant=True)]
    for number, model in enumerate(variants):
        write_model(model, tmp_path / str(number))
    assert len({digest_file(tmp_path / str(n) / WEIGHTS) for n in range(len(variants))}) == 1
    assert digest_file(tmp_path / "0" / MODEL) != digest_file(tmp_path / "2" / MODEL)


def test_equal_tensors_lie_in_the_weights_file_once(tmp_path):
    weights = np.ones((LARGE, LARGE), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [LARGE, LARGE])],
        [numpy_helper.from_array(weights, "a"), numpy_helper.from_array(weights, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    write_model(ir.from_proto(model), tmp_path)
    assert (tmp_path / WEIGHTS).stat().st_size == weights.nbytes
    y = ort.InferenceSession(tmp_path / MODEL, providers=["CPUExecutionProvider"]).run(None, {})[0]
    assert (y == 2).all()


def test_round_trip_is_identical_and_memory_mapped(tmp_path):
    write_model(two_layers(), tmp_path / "a")
    again = read_model(tmp_path / "a")
    assert isinstance(again.graph.initializers["a.weight"].const_value, ir.ExternalTensor)
    write_model(again, tmp_path / "b")
    for name in (MODEL, WEIGHTS):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_writing_over_the_folder_it_was_read_from_and_shrinking(tmp_path):
    write_model(two_layers(), tmp_path)
    model = read_model(tmp_path)
    write_model(model, tmp_path)
    assert read_model(tmp_path).graph.initializers["a.weight"].const_value.numpy().shape == (LARGE, LARGE)
    write_model(tiny(numpy_helper.from_array(np.arange(4.0), "w")), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [MODEL]


def test_the_model_in_memory_stays_as_it_is(tmp_path):
    model = two_layers(constant=True)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    write_model(model, tmp_path)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_typed_and_raw_spelling_of_a_tensor_are_the_same_bytes(tmp_path):
    typed = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    raw = numpy_helper.from_array(np.array([1, 2], np.float32), "w")
    assert typed.SerializeToString() != raw.SerializeToString()
    for number, tensor in enumerate((typed, raw)):
        write_model(tiny(tensor), tmp_path / str(number))
    assert digest_file(tmp_path / "0" / MODEL) == digest_file(tmp_path / "1" / MODEL)


@pytest.mark.parametrize("dtype", [ml_dtypes.int4, ml_dtypes.bfloat16, np.float16, np.bool_, np.float64, np.uint8])
def test_every_element_type_survives_inline_and_external(tmp_path, dtype):
    values = (np.arange(3) % 2).astype(dtype)
    write_model(tiny(numpy_helper.from_array(values, "w")), tmp_path / "small")
    assert (read_model(tmp_path / "small").graph.initializers["w"].const_value.numpy() == values).all()
    many = (np.arange(2 * INLINE_LIMIT + 3) % 2).astype(dtype)
    write_model(tiny(numpy_helper.from_array(many, "w")), tmp_path / "large")
    back = read_model(tmp_path / "large").graph.initializers["w"].const_value
    assert isinstance(back, ir.ExternalTensor)
    assert (back.numpy() == many).all()
    write_model(read_model(tmp_path / "large"), tmp_path / "again")
    assert digest_file(tmp_path / "again" / WEIGHTS) == digest_file(tmp_path / "large" / WEIGHTS)


def test_strings_stay_in_the_graph_file(tmp_path):
    model = tiny(helper.make_tensor("w", TensorProto.STRING, [2], [b"caf\xc3\xa9", b"b"]))
    write_model(model, tmp_path)
    assert read_model(tmp_path).graph.initializers["w"].const_value.numpy().tolist() == [b"caf\xc3\xa9", b"b"]


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / MODEL).write_bytes(b"\x0a\xff\xffnot a model")
    with pytest.raises(StageFailure) as caught:
        read_model(tmp_path)
    assert caught.value.code == "bad-onnx-file"


def test_a_tensor_without_its_bytes_is_named(tmp_path):
    model = two_layers()
    write_model(model, tmp_path)
    with (tmp_path / WEIGHTS).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(StageFailure) as caught:
        write_model(read_model(tmp_path), tmp_path / "out")
    assert caught.value.code == "bad-tensor"
    assert "weight" in caught.value.message


def test_metadata_leaves_the_weights_alone(tmp_path):
    write_model(two_layers(), tmp_path)
    weights = digest_file(tmp_path / WEIGHTS)
    add_metadata(tmp_path, {"team": "kiosk", "a": "1"})
    assert digest_file(tmp_path / WEIGHTS) == weights
    assert dict(read_model_file(tmp_path / MODEL).metadata_props) == {"a": "1", "team": "kiosk"}


def test_dims_of_weights_are_written_once(tmp_path):
    write_model(two_layers(), tmp_path)
    write_model(read_model(tmp_path), tmp_path / "again")
    graph = onnx.load(tmp_path / "again" / MODEL, load_external_data=False).graph
    assert not {info.name for info in graph.value_info} & {tensor.name for tensor in graph.initializer}


def test_before_a_large_file_is_read_models_that_are_done_with_leave_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(two_layers(), tmp_path)
    gc.disable()
    try:
        done_with = weakref.ref(read_model(tmp_path).graph)
        read_model(tmp_path)
        assert done_with() is not None, "a graph is a ring of references: only a collection frees it"
        monkeypatch.setattr(model_module, "LARGE", 0)
        read_model(tmp_path)
        assert done_with() is None
    finally:
        gc.enable()
