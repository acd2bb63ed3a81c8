"""The recipe's names, dtypes and dims: put into a model, and read back."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import parser

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.contract import check_contract, rename_io, set_dims
from onnxbuild.ir.describe import describe_model, value_shape
from onnxbuild.ir.facts import ModelFacts, ValueFacts
from onnxbuild.recipe.types import Axis, Input, Output

TEXT = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[N, 4] a, float[N, M] b) => (float[N, P] c, float[N, 4] d)
{ c = Concat<axis = 1>(a, b) y = Relu(a) d = Neg(y) }
"""


def load(text: str = TEXT) -> ir.Model:
    return ir.from_proto(parser.parse_model(text))


def inputs(**shapes: tuple[int | str, ...]) -> tuple[Input, ...]:
    return tuple(Input(name=name, dtype="float32", shape=shape) for name, shape in shapes.items())


def outputs(*names: str) -> tuple[Output, ...]:
    return tuple(Output(name=name) for name in names)


def names(model: ir.Model) -> tuple[list[str | None], list[str | None]]:
    return [v.name for v in model.graph.inputs], [v.name for v in model.graph.outputs]


def run(model: ir.Model, **call: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([v.name for v in session.get_outputs()], session.run(None, call), strict=True))


def test_names_are_matched_by_name_where_all_match():
    model = load()
    rename_io(model, inputs(b=(2, 3), a=(2, 4)), outputs("d", "c"))
    assert names(model) == (["b", "a"], ["d", "c"])
    out = run(model, a=np.ones((2, 4), np.float32), b=np.ones((2, 3), np.float32))
    assert (out["c"].shape, out["d"].shape) == ((2, 7), (2, 4))


def test_names_are_matched_by_order_else_and_may_be_swapped_or_taken():
    model = load()
    rename_io(model, inputs(b=(2, 4), y=(2, 3)), outputs("a", "logits"))
    assert names(model) == (["b", "y"], ["a", "logits"])
    onnx.checker.check_model(ir.to_proto(model))
    out = run(model, b=np.ones((2, 4), np.float32), y=np.ones((2, 3), np.float32))
    assert out["a"].shape == (2, 7)
    assert (out["logits"] == -1).all()


def test_another_number_of_inputs_or_outputs_is_refused_by_name():
    with pytest.raises(StageFailure, match="'a', 'b'") as caught:
        rename_io(load(), inputs(x=(2, 4)), outputs("c", "d"))
    assert caught.value.code == "inputs-differ"
    with pytest.raises(StageFailure, match="'c', 'd'") as caught:
        rename_io(load(), inputs(x=(2, 4), z=(2, 3)), outputs("c"))
    assert caught.value.code == "outputs-differ"


def test_an_input_that_is_an_output_and_a_value_that_is_two_get_identities():
    model = load(
        """<ir_version: 10, opset_import: ["" : 20]>
        g (float[2] x) => (float[2] x, float[2] r, float[2] r) { r = Relu(x) }"""
    )
    rename_io(model, inputs(image=(2,)), outputs("same", "one", "two"))
    assert names(model) == (["image"], ["same", "one", "two"])
    out = run(model, image=np.array([-1, 2], np.float32))
    assert [list(v) for v in out.values()] == [[-1, 2], [0, 2], [0, 2]]


def test_axes_are_renamed_fixed_and_carried_to_the_outputs():
    model = load()
    set_dims(model, inputs(a=("batch", 4), b=("batch", 3)), {"batch": Axis(max=8)})
    assert [value_shape(v) for v in model.graph.inputs] == [("batch", 4), ("batch", 3)]
    assert [value_shape(v) for v in model.graph.outputs] == [("batch", 7), ("batch", 4)]


def test_fixing_a_dynamic_axis_fixes_it_in_the_outputs():
    model = load()
    set_dims(model, inputs(a=(2, 4), b=(2, 3)), {})
    assert [value_shape(v) for v in model.graph.outputs] == [(2, 7), (2, 4)]


def test_a_fixed_dim_cannot_be_made_dynamic():
    with pytest.raises(StageFailure, match="axis 1 of input 'a' is fixed to 4") as caught:
        set_dims(load(), inputs(a=("batch", "width"), b=("batch", 3)), {"batch": Axis(max=8), "width": Axis(max=8)})
    assert caught.value.code == "fixed-dim"


@pytest.mark.parametrize("shape", [(2, 5), (2, 4, 1)])
def test_another_size_or_rank_is_refused(shape):
    with pytest.raises(StageFailure) as caught:
        set_dims(load(), inputs(a=shape, b=(2, 3)), {})
    assert caught.value.code == "shape-differs"
    assert "input 'a'" in caught.value.message


def test_another_dtype_is_refused():
    wrong = (Input(name="a", dtype="int64", shape=(2, 4)), Input(name="b", dtype="float32", shape=(2, 3)))
    with pytest.raises(StageFailure, match="is float32 in the model; the recipe says int64") as caught:
        set_dims(load(), wrong, {})
    assert caught.value.code == "dtype-differs"


def test_missing_rank_and_negative_sizes_of_old_files_are_filled_in():
    model = load()
    model.graph.inputs[0].shape = None
    model.graph.inputs[1].shape = ir.Shape([-1, 3])
    set_dims(model, inputs(a=("batch", 4), b=("batch", 3)), {"batch": Axis(max=8)})
    assert [value_shape(v) for v in model.graph.inputs] == [("batch", 4), ("batch", 3)]


def test_a_wrong_declared_rank_of_an_output_gives_way():
    model = load()
    model.graph.outputs[1].shape = ir.Shape(["N", 4, 1])
    set_dims(model, inputs(a=("batch", 4), b=("batch", 3)), {"batch": Axis(max=8)})
    assert value_shape(model.graph.outputs[1]) == ("batch", 4)


def test_what_is_delivered_is_compared_with_what_is_declared():
    model = load()
    declared = inputs(a=("batch", 4), b=("batch", 3))
    set_dims(model, declared, {"batch": Axis(max=8)})
    facts = describe_model(model, 0)
    check_contract(facts, declared, outputs("c", "d"), opset=20, ir_version=10)
    with pytest.raises(StageFailure) as caught:
        check_contract(facts, inputs(b=("batch", 3), a=("n", 4)), outputs("c"), opset=21, ir_version=9)
    for part in (
        "inputs are",
        "outputs are",
        "axis 0 of input 'a' came out dynamic ('batch'), where the dynamic 'n' is declared",
        "opset is 20",
        "IR version is 10",
    ):
        assert part in caught.value.message


def test_axes_that_came_out_static_or_dynamic_against_the_recipe_are_named():
    facts = describe_shapes((4, "n", None))
    wanted = (Input(name="x", dtype="float32", shape=("batch", 8, "batch")),)
    with pytest.raises(StageFailure) as failure:
        check_contract(facts, wanted, (Output(name="y"),), opset=None, ir_version=None)
    assert failure.value.code == "contract-broken"
    for said in (
        "axis 0 of input 'x' came out fixed to 4, where the dynamic 'batch' is declared",
        "axis 1 of input 'x' came out dynamic ('n'), where 8 is declared",
        "axis 2 of input 'x' came out without a name, where the dynamic 'batch' is declared",
    ):
        assert said in failure.value.message


def describe_shapes(shape: tuple[int | str | None, ...]) -> ModelFacts:
    value = ValueFacts("x", "float32", shape)
    empty = dict.fromkeys(("nodes", "bytes", "weight_bytes", "weight_tensors"), 0)
    return ModelFacts(
        inputs=(value,), outputs=(ValueFacts("y", "float32", shape),), opsets={"": 20}, ir_version=10,
        operators={}, weight_bytes_by_dtype={}, weights=(), **empty,
    )  # fmt: skip
