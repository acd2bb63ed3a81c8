"""The canonical form: order, names and contents that depend on the graph alone."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, parser

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.canonical import PRODUCER, canonicalize, names_of
from onnxbuild.ir.facts import Origin
from onnxbuild.recipe.types import Framework

MLP = """
<ir_version: 10, opset_import: ["" : 20, "unused.domain" : 3], producer_name: "somebody", doc_string: "d">
g (float[n, 4] x) => (float[n, 2] y)
<float[4, 3] w1 = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, float[3, 2] w2 = {1, 2, 3, 4, 5, 6}, float[1] unused = {1}>
{
  dead = Relu(x)
  h = MatMul(x, w1)
  c = Constant<value = float[1] {0.5}>()
  s = Add(h, c)
  r = Relu(s)
  y = MatMul(r, w2)
}
"""


def load(text: str) -> ir.Model:
    return ir.from_proto(parser.parse_model(text))


def data(model: ir.Model) -> bytes:
    return ir.to_proto(model).SerializeToString(deterministic=True)


def canonical(model: ir.Model, **options: object) -> bytes:
    canonicalize(model, **options)
    return data(model)


def run(model: bytes, x: np.ndarray) -> list[np.ndarray]:
    return ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})


def test_dead_parts_docs_and_producer_go_and_constants_are_initializers():
    model = load(MLP)
    model.metadata_props.update({"z": "1", "a": "2", "onnx.infer": "onnxruntime.quant"})
    canonicalize(model)
    assert [node.op_type for node in model.graph] == ["MatMul", "Add", "Relu", "MatMul"]
    assert list(model.graph.initializers) == ["w1", "c", "w2"]
    assert dict(model.opset_imports) == {"": 20}
    assert (model.producer_name, model.doc_string) == (PRODUCER, None)
    assert list(model.metadata_props.items()) == [("a", "2"), ("z", "1")]
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_canonical_form_is_idempotent_and_computes_the_same():
    x = np.random.default_rng(0).standard_normal((3, 4), dtype=np.float32)
    expected = run(parser.parse_model(MLP).SerializeToString(), x)
    model = load(MLP)
    once = canonical(model)
    np.testing.assert_array_equal(run(once, x), expected)
    assert canonical(ir.from_proto(onnx.load_from_string(once))) == once


def test_unnamed_nodes_are_named_by_scope_and_operator():
    model = load(MLP)
    canonicalize(model)
    assert [node.name for node in model.graph] == ["MatMul", "Add", "Relu", "MatMul_2"]


def test_numeric_names_are_replaced_and_io_names_stay():
    model = load(
        """<ir_version: 10, opset_import: ["" : 20]> g (float[2] x) => (float[2] y) <float[2] w = {1, 2}>
        { h = Add(x, w) y = Relu(h) }"""
    )
    values = {v.name: v for v in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values())}
    values["h"] = model.graph[0].outputs[0]
    for name, number in (("x", "1"), ("w", "3"), ("h", "4"), ("y", "9")):
        values[name].name = number
    canonicalize(model)
    assert ([v.name for v in model.graph.inputs], [v.name for v in model.graph.outputs]) == (["1"], ["9"])
    assert list(model.graph.initializers) == ["Add/B"]
    assert model.graph[0].outputs[0].name == "Add:0"


def test_given_names_stay_and_duplicates_are_told_apart():
    model = load(MLP)
    for node in model.graph:
        node.name = "same" if node.op_type == "MatMul" else f"my {node.op_type}: 'x'"
    canonicalize(model)
    assert [node.name for node in model.graph] == ["same", "my Add: 'x'", "my Relu: 'x'", "MatMul"]


def test_names_that_a_tool_made_up_follow_the_scope_of_what_is_around():
    model = load(MLP)
    for node, name in zip(model.graph, ["d", "fc1/MatMul", "k", "fc1/Add", "fc1/Relu", "fc2/MatMul"], strict=True):
        node.name = name
    canonicalize(model)
    before = names_of(model)
    first, add, relu, second = model.graph
    gemm = ir.Node("", "Gemm", [first.inputs[0], first.inputs[1]], name="zzz_17")
    add.replace_input_with(0, gemm.outputs[0])
    model.graph.insert_before(add, gemm)
    model.graph.remove(first, safe=True)
    second.name = "fc2/MatMul_quant"
    relu.name = "fc1/Relu/Fusion/"
    canonicalize(model, before=before)
    assert [node.name for node in model.graph] == ["fc1/Gemm", "fc1/Add", "fc1/Relu", "fc2/MatMul_quant"]


def test_cycles_are_refused():
    model = load(MLP)
    nodes = list(model.graph)
    nodes[3].replace_input_with(1, nodes[4].outputs[0])
    with pytest.raises(StageFailure) as caught:
        canonicalize(model)
    assert caught.value.code == "cyclic-graph"


def test_initializers_are_no_inputs_afterwards():
    model = load(
        """<ir_version: 3, opset_import: ["" : 7]> g (float[2] x, float[2] w) => (float[2] y) { y = Add(x, w) }"""
    )
    weight = model.graph.inputs[1]
    weight.const_value = ir.tensor([1.0, 2.0], name="w")
    model.graph.register_initializer(weight)
    canonicalize(model)
    assert [v.name for v in model.graph.inputs] == ["x"]
    assert model.ir_version == 4
    onnx.checker.check_model(ir.to_proto(model))


BRANCHES = """
<ir_version: 10, opset_import: ["" : 20]>
g (bool b, float[2] x) => (float[2] y) <float[2] w = {1, 2}>
{
  outer = Add(x, w)
  y = If (b) <
    then_branch = t () => (float[2] r) { k = Constant<value = float[2] {3, 4}>() r = Mul(outer, k) },
    else_branch = e () => (float[2] r) { q = Neg(outer) u = Exp(x) r = Sub(q, w) }
  >
}
"""


def test_subgraphs_are_sorted_named_below_their_node_and_shadow_nothing():
    model = load(BRANCHES)
    expected = [
        ort.InferenceSession(data(model)).run(None, {"b": np.array(b), "x": np.array([5, 6], np.float32)})[0]
        for b in (True, False)
    ]
    once = canonical(model)
    assert [node.name for node in model.graph] == ["Add", "If"]
    then, otherwise = (model.graph[1].attributes[a].as_graph() for a in ("then_branch", "else_branch"))
    assert [node.name for node in then] == ["If/then_branch/Constant", "If/then_branch/Mul"]
    assert [node.op_type for node in otherwise] == ["Neg", "Sub"]
    names = [v.name for g in (model.graph, then, otherwise) for node in g for v in node.outputs]
    assert len(names) == len(set(names))
    session = ort.InferenceSession(once)
    for b, value in zip((True, False), expected, strict=True):
        np.testing.assert_array_equal(
            session.run(None, {"b": np.array(b), "x": np.array([5, 6], np.float32)})[0], value
        )
    assert canonical(ir.from_proto(onnx.load_from_string(once))) == once


FUNCTIONS = """
<ir_version: 10, opset_import: ["" : 20, "my" : 1]>
g (float[2] x) => (float[2] y) { h = my.twice(x) y = my.twice(h) }
<domain: "my", opset_import: ["" : 20, "other" : 1]>
twice (a) => (b) { z = Relu(a) unused = Exp(a) b = Add(z, a) }
<domain: "my", opset_import: ["" : 20]>
never (a) => (b) { b = Relu(a) }
"""


def test_functions_are_kept_sorted_and_trimmed():
    model = load(FUNCTIONS)
    once = canonical(model)
    assert [key[1] for key in model.functions] == ["twice"]
    function = next(iter(model.functions.values()))
    assert [node.op_type for node in function] == ["Relu", "Add"]
    assert dict(function.opset_imports) == {"": 20}
    assert dict(model.opset_imports) == {"": 20, "my": 1}
    y = run(once, np.array([1, -2], np.float32))[0]
    np.testing.assert_array_equal(y, [4, -2])
    assert canonical(ir.from_proto(onnx.load_from_string(once))) == once


def torch_model() -> ir.Model:
    model = load(MLP)
    model.producer_name = "pytorch"
    model.graph.metadata_props["pkg.torch.export.ExportedProgram.graph_signature"] = (
        "p_fc1_weight: PARAMETER target='blocks.0.fc.weight'\n"
    )
    for value, name in zip(list(model.graph.initializers.values()), ["blocks.0.fc.weight", "val_3", "u"], strict=True):
        value.name = name
    for number, node in enumerate(model.graph):
        node.name = f"node_{node.op_type}_{100 + number}"
        node.metadata_props["pkg.torch.onnx.name_scopes"] = "['', 'blocks.0', 'blocks.0.fc', 'linear']"
        node.metadata_props["pkg.torch.onnx.stack_trace"] = (
            'File "/home/me/project/recipes/models/net.py", line 12, in forward\n    return self.fc(x)\n'
            '  File "/venv/lib/python3.11/site-packages/torch/nn/linear.py", line 134, in forward\n    return F.linear('
        )
    model.graph[-1].metadata_props["pkg.torch.onnx.name_scopes"] = "['', 'linear_2']"
    model.graph[-1].metadata_props["pkg.torch.onnx.stack_trace"] = 'File "/elsewhere/other.py", line 3, in forward'
    return model


def test_torch_names_come_from_modules_and_origins_from_stack_traces():
    model = torch_model()
    origins = canonicalize(model, source=Framework.TORCH, root=Path("/home/me/project/recipes"))
    assert [node.name for node in model.graph] == [
        "blocks/0/fc/MatMul",
        "blocks/0/fc/Add",
        "blocks/0/fc/Relu",
        "MatMul",
    ]
    assert list(model.graph.initializers) == ["blocks.0.fc.weight", "c", "MatMul/B"]
    assert model.graph[0].outputs[0].name == "blocks/0/fc/MatMul:0"
    assert origins["blocks/0/fc/Relu"] == Origin(module="blocks.0.fc", file="models/net.py", line=12)
    assert origins["MatMul"] == Origin(module="", file="other.py", line=3)
    text = data(model)
    assert b"/home" not in text
    assert b"forward" not in text
    assert canonical(model, source=Framework.TORCH) == text


def test_a_changed_line_changes_origins_only():
    moved = torch_model()
    for node in moved.graph:
        key = "pkg.torch.onnx.stack_trace"
        node.metadata_props[key] = node.metadata_props[key].replace("line 12", "line 13")
    a, b = torch_model(), moved
    assert canonicalize(a, source=Framework.TORCH) != canonicalize(b, source=Framework.TORCH)
    assert data(a) == data(b)


def test_a_convolution_that_took_in_its_batch_norm_keeps_its_own_module():
    model = torch_model()
    node = next(n for n in model.graph if n.op_type == "MatMul")
    node.metadata_props["pkg.torch.onnx.name_scopes"] = "['', 'bn', '_native_batch_norm']"
    node.metadata_props["pkg.onnxscript.rewriter.rule_name"] = "FuseBatchNormIntoConv"
    canonicalize(model, source=Framework.TORCH)
    assert model.graph[0].name == "blocks/0/fc/MatMul"


def tensorflow_model(counter: int) -> ir.Model:
    model = load(MLP)
    model.producer_name = "tf2onnx"
    names = [
        "x",
        "StatefulPartitionedCall/model_1/fc1_1/MatMul",
        "c",
        f"StatefulPartitionedCall/model_1/fc1_1/BiasAdd__{counter}",
        f"Relu__{counter + 3}",
        "StatefulPartitionedCall/model_1/fc2_1/MatMul",
    ]
    for node, name in zip(model.graph, names, strict=True):
        node.name = name
        for value in node.outputs:
            if value.name != "y":
                value.name = f"{name}:0"
    model.graph.initializers["w2"].name = f"const_fold_opt__{counter}"
    model.graph.inputs[0].shape = ir.Shape([f"unk__{counter}", 4])
    return model


def test_tensorflow_counters_and_wrappers_go():
    a, b = tensorflow_model(17), tensorflow_model(99)
    assert data(a) != data(b)
    assert canonical(a, source=Framework.KERAS) == canonical(b, source=Framework.KERAS)
    assert [node.name for node in a.graph] == ["fc1/MatMul", "fc1/Add", "fc1/Relu", "fc2/MatMul"]
    assert list(a.graph.initializers) == ["fc1/MatMul/B", "fc1/Add/B", "fc2/MatMul/B"]
    assert a.graph.inputs[0].shape == ir.Shape([None, 4])
    assert canonical(a, source=Framework.KERAS) == data(b)


def test_known_layers_tell_a_number_in_a_name_from_a_counter():
    model = tensorflow_model(3)
    canonicalize(model, source=Framework.KERAS, modules=["fc1_1", "fc2"])
    assert [node.name for node in model.graph] == ["fc1_1/MatMul", "fc1_1/Add", "fc1_1/Relu", "fc2/MatMul"]


def random_graph(seed: int, size: int) -> list[onnx.NodeProto]:
    rng = random.Random(seed)
    nodes, values = [], ["x", "w"]
    for number in range(size):
        operator, arity = rng.choice([("Add", 2), ("Mul", 2), ("Relu", 1), ("Neg", 1), ("Sub", 2)])
        out = f"val_{rng.randrange(10**6)}_{number}" if rng.random() < 0.5 else f"given{number}"
        nodes.append(helper.make_node(operator, rng.choices(values, k=arity), [out]))
        values.append(out)
    nodes.append(helper.make_node("Sum", values[-3:], ["y"]))
    return nodes


def topological_shuffle(nodes: list[onnx.NodeProto], seed: int) -> list[onnx.NodeProto]:
    rng, left, ready, order = random.Random(seed), list(nodes), {"x", "w"}, []
    while left:
        node = rng.choice([n for n in left if set(n.input) <= ready])
        left.remove(node)
        order.append(node)
        ready.update(node.output)
    return order


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 25), st.integers(0, 10**6))
def test_the_order_in_which_a_tool_wrote_the_nodes_does_not_matter(seed, size, shuffle):
    nodes = random_graph(seed, size)

    def build(listed: list[onnx.NodeProto]) -> ir.Model:
        info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
        weight = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
        graph = helper.make_graph(listed, "g", info[:1], info[1:], [weight])
        return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))

    one, other = build(nodes), build(topological_shuffle(nodes, shuffle))
    assert canonical(one) == canonical(other)
    onnx.checker.check_model(ir.to_proto(one))
