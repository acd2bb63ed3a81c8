"""ONNX files as sources: what other exporters leave in them survives, and the untouched file is the reference."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import Axis, Framework, Input, Source

SOURCE = Source(framework=Framework.ONNX, path="m.onnx")
X = Input(name="x", dtype="float32", shape=("batch", 4))
WEIGHT = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


def value(name, shape, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def save(recipe, nodes, inputs=None, outputs=None, *, opset=17, weights=(("w", WEIGHT),), functions=(), external=False):
    graph = helper.make_graph(
        nodes,
        "whose",
        inputs or [value("x", ["n", 4])],
        outputs or [value("y", ["n", 3])],
        [numpy_helper.from_array(array, name) for name, array in weights],
    )
    imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(f.domain, 1) for f in functions]
    model = helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=8)
    model.doc_string = "a secret note"
    helper.set_model_props(model, {"labels": '["a", "b"]', "stride": "32"})
    options = {"save_as_external_data": True, "location": "m.bin", "size_threshold": 0} if external else {}
    onnx.save(model, recipe.folder / "m.onnx", **options)


def test_names_metadata_and_opset_are_the_files_own(recipe):
    save(recipe, [helper.make_node("MatMul", ["x", "w"], ["h"], name="first"), helper.make_node("Relu", ["h"], ["y"])])
    before = (recipe.folder / "m.onnx").read_bytes()
    proved = recipe.prove(SOURCE, [X], ["y"], opset=None)
    proved.assert_close()
    assert proved.facts.opsets == {"": 17}
    assert proved.facts.metadata == {"labels": '["a", "b"]', "stride": "32"}
    assert "first" in [node.name for node in onnx.load(proved.model).graph.node]
    assert proved.facts.inputs[0].shape == ("batch", 4)
    assert proved.facts.outputs[0].shape == ("batch", 3)
    assert (recipe.folder / "m.onnx").read_bytes() == before


def test_external_data(recipe):
    big = np.random.default_rng(0).standard_normal((4, 70_000)).astype(np.float32)
    save(
        recipe,
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        outputs=[value("y", ["n", 70_000])],
        weights=[("w", big)],
        external=True,
    )
    proved = recipe.prove(SOURCE, [X], ["y"])
    proved.assert_close()
    assert (proved.model.parent / "model.onnx.data").stat().st_size >= big.nbytes
    assert proved.facts.weight_bytes == big.nbytes


def test_external_data_outside_its_folder_is_refused(recipe):
    save(recipe, [helper.make_node("MatMul", ["x", "w"], ["y"])], external=True)
    model = onnx.load(recipe.folder / "m.onnx", load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../m.bin"
    (recipe.folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(StageFailure) as failure:
        recipe.export(SOURCE, [X], ["y"])
    assert failure.value.code == "hostile-model"


def test_model_local_functions(recipe):
    function = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Twice", ["h"], ["y"], domain="local")]
    save(recipe, nodes, functions=[function])
    proved = recipe.prove(SOURCE, [X], ["y"], opset=None)
    proved.assert_close()
    assert proved.facts.operators["local.Twice"] == 1


def test_branches_read_the_outer_graph(recipe):
    def branch(name, op):
        return helper.make_graph([helper.make_node(op, ["h"], [name])], name, [], [value(name, None)])

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("ReduceMean", ["h"], ["mean"], keepdims=0),
        helper.make_node("Greater", ["mean", "zero"], ["yes"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch("t", "Relu"), else_branch=branch("e", "Neg")),
    ]
    save(recipe, nodes, weights=[("w", WEIGHT), ("zero", np.float32(0))])
    calls = [{"x": np.full((2, 4), sign, np.float32) * [4, 3, 2, 1]} for sign in (1, -1)]
    calls = [{"x": call["x"].astype(np.float32)} for call in calls]
    proved = recipe.prove(SOURCE, [X], ["y"], calls=calls)
    proved.assert_close()
    assert proved.facts.operators["If"] == 1
    assert {"Relu", "Neg"} <= set(proved.facts.operators)


def test_a_branch_with_an_output_that_has_no_name_is_refused_before_it_ends_the_runtime(recipe):
    arm = helper.make_graph(
        [helper.make_node("Relu", ["h"], ["a"]), helper.make_node("Neg", ["h"], ["b"])],
        "arm",
        [],
        [value("a", None), value("b", None)],
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("If", ["yes"], ["", "y"], name="the/If", then_branch=arm, else_branch=arm),
    ]
    save(recipe, nodes, weights=[("w", WEIGHT), ("yes", np.array(True))])
    with pytest.raises(StageFailure) as refused:
        recipe.prove(SOURCE, [X], ["y"])
    assert (refused.value.code, refused.value.node) == ("unsupported-model", "the/If")
    assert "If 'the/If' leaves an output without a name" in refused.value.message
    assert "name all outputs" in (refused.value.hint or "")


def test_weights_in_constant_nodes_of_an_old_opset(recipe):
    constant = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(WEIGHT))
    nodes = [constant, helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Softmax", ["h"], ["y"], axis=1)]
    save(recipe, nodes, opset=11, weights=())
    proved = recipe.prove(SOURCE, [X], ["y"], opset=17)
    proved.assert_close()
    assert proved.facts.opsets == {"": 17}
    assert proved.facts.weight_bytes >= WEIGHT.nbytes


def two(recipe):
    nodes = [helper.make_node("Sub", ["a", "b"], ["p"]), helper.make_node("Mul", ["a", "b"], ["q"])]
    save(
        recipe,
        nodes,
        inputs=[value("a", ["n", 4]), value("b", ["n", 4])],
        outputs=[value("p", ["n", 4]), value("q", ["n", 4])],
        weights=(),
    )


@pytest.mark.parametrize(
    ("inputs", "outputs", "first", "difference"),
    [
        (["b", "a"], ["q", "p"], 1.0, "p"),  # all names match: by name, in the recipe's order
        (["left", "right"], ["minus", "times"], 1.0, "minus"),  # by order
        (["b", "other"], ["p", "q"], -1.0, "p"),  # not all match: by order
    ],
)
def test_values_are_matched_by_name_or_else_by_order(recipe, inputs, outputs, first, difference):
    two(recipe)
    declared = [Input(name=name, dtype="float32", shape=("batch", 4)) for name in inputs]
    numbers = {"a": 3.0, "b": 2.0, "left": 3.0, "right": 2.0, "other": 3.0}
    calls = [{name: np.full((2, 4), numbers[name], np.float32) for name in inputs}]
    proved = recipe.prove(SOURCE, declared, outputs, calls=calls)
    proved.assert_close()
    assert proved.got[0][difference][0, 0] == first
    assert [v.name for v in proved.facts.inputs] == inputs
    assert [v.name for v in proved.facts.outputs] == outputs


def test_a_dynamic_dim_may_be_fixed_and_a_fixed_one_not_made_dynamic(recipe):
    save(recipe, [helper.make_node("MatMul", ["x", "w"], ["y"])])
    fixed = Input(name="x", dtype="float32", shape=(2, 4))
    assert recipe.prove(SOURCE, [fixed], ["y"], {}).facts.inputs[0].shape == (2, 4)
    loose = Input(name="x", dtype="float32", shape=("batch", "width"))
    with pytest.raises(StageFailure) as failure:
        recipe.export(SOURCE, [loose], ["y"], {"batch": Axis(max=2), "width": Axis(max=4)})
    assert failure.value.code == "fixed-dim"


@pytest.mark.parametrize(
    ("inputs", "outputs", "code"),
    [
        ([X, X], ["y"], "inputs-differ"),
        ([X], ["y", "z"], "outputs-differ"),
        ([Input(name="x", dtype="float64", shape=("batch", 4))], ["y"], "dtype-differs"),
    ],
)
def test_what_the_file_does_not_have_is_refused(recipe, inputs, outputs, code):
    save(recipe, [helper.make_node("MatMul", ["x", "w"], ["y"])])
    with pytest.raises(StageFailure) as failure:
        recipe.export(SOURCE, inputs, outputs)
    assert failure.value.code == code


def test_a_file_that_is_no_model(recipe):
    (recipe.folder / "m.onnx").write_bytes(b"\x00\x01 not a model")
    with pytest.raises(StageFailure) as failure:
        recipe.export(SOURCE, [X], ["y"])
    assert failure.value.code == "bad-onnx-file"


def test_values_that_are_not_finite_are_counted(recipe):
    save(recipe, [helper.make_node("Log", ["x"], ["y"])], outputs=[value("y", ["n", 4])], weights=())
    call = {"x": np.array([[1, 0, -1, 2]], np.float32)}
    proved = recipe.prove(SOURCE, [X], ["y"], calls=[call])
    assert proved.reference.nonfinite == {"y": 2}
    assert any(w.startswith("nonfinite: ") for w in proved.warnings)
