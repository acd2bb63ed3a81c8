"""What a picture shows of a graph: all of a small one, and of a large one what differs, parts that are alike once."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxbuild.ir.picture import MOST, picture
from tests.ir.graphs import branches, model, read, transformer


def names(nodes: object, change: str) -> set[str]:
    return {node.name for node in nodes if node.change == change}  # type: ignore[attr-defined]


def test_a_small_graph_is_shown_whole_with_its_edges() -> None:
    weights = {"w": np.zeros((32, 16), np.float32), "s": np.array(2, np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "fc"),
        helper.make_node("Mul", ["h", "s"], ["m"], "scale"),
        helper.make_node("Add", ["m", "h"], ["y"], "add"),
    ]
    found = picture(read(model(nodes, weights)), None)
    assert (found.whole, found.nodes, found.shown, found.changed) == (True, 3, 3, None)
    x, fc, scale, add, y = found.parts[0].nodes
    assert [(n.kind, n.reads) for n in (x, fc, scale, add, y)] == [
        ("input", ()), ("node", (0,)), ("node", (1,)), ("node", (2, 1)), ("output", (3,)),
    ]  # fmt: skip
    assert fc.weights == ("float32 32×16",)
    assert scale.weights == (), "a scalar is no weight worth a line"
    assert (x.dtype, y.dtype) == ("float32", "float32")


def test_constants_are_part_of_what_reads_them() -> None:
    nodes = [
        helper.make_node("Constant", [], ["c"], "c", value=numpy_helper.from_array(np.zeros((32, 8), np.float32))),
        helper.make_node("DequantizeLinear", ["q", "s"], ["d"], "d"),
        helper.make_node("MatMul", ["x", "d"], ["h"], "one"),
        helper.make_node("MatMul", ["h", "c"], ["y"], "two"),
    ]
    weights = {"q": np.zeros((32, 32), np.int8), "s": np.array(1, np.float32)}
    found = picture(read(model(nodes, weights)), None)
    assert (found.nodes, found.shown, found.folded) == (4, 2, 2)
    boxes = {node.name: node for node in found.parts[0].nodes}
    assert boxes.keys() == {"x", "one", "two", "y"}
    assert boxes["one"].weights == ("int8 32×32",)
    assert boxes["two"].weights == ("float32 32×8",)


def test_differences_are_new_changed_or_moved() -> None:
    def chain(*ops: tuple[str, str]) -> onnx.ModelProto:
        at, nodes = "x", []
        for op, name in ops:
            nodes.append(helper.make_node(op, [at], [f"{name}:0"], name))
            at = f"{name}:0"
        return model(nodes, {}, at)

    old = chain(("Relu", "a"), ("Abs", "b"), ("Neg", "c"), ("Exp", "d"), ("Sqrt", "e"))
    new = chain(("Relu", "a"), ("Neg", "c"), ("Log", "d"), ("Ceil", "f"), ("Sqrt", "e"))
    found = picture(read(new), read(old))
    nodes = found.parts[0].nodes
    assert names(nodes, "new") == {"f"}
    assert names(nodes, "changed") == {"d"}
    assert names(nodes, "moved") == {"c"}, "e reads what is new, so it is the new node that stepped between"
    assert (found.changed, found.removed) == (3, 1)


def test_of_a_large_graph_what_differs_is_shown_once_a_kind() -> None:
    old, new = transformer(10), transformer(10)
    for node in new.graph.node:
        if node.op_type == "Erf":
            node.op_type = "Tanh"
    found = picture(read(new), read(old))
    assert not found.whole
    assert found.nodes == len(new.graph.node) > 300
    (part,) = found.parts
    assert part.times == 10
    assert [(n.op, n.change, n.cut) for n in part.nodes] == [("Div", "", 1), ("Tanh", "changed", 0), ("Add", "", 1)]
    assert found.shown == 30
    assert found.changed == 10


def test_a_part_that_is_too_large_is_cut_and_says_so() -> None:
    old, new = transformer(4), transformer(4)
    for node in new.graph.node:
        node.name = "new/" + node.name
    found = picture(read(new), read(old))
    assert len([n for n in found.parts[0].nodes if n.kind == "node"]) == MOST == found.shown
    assert found.nodes > 2 * MOST
    assert any(node.cut for node in found.parts[0].nodes)
    first = picture(read(transformer(4)), None)
    assert (first.shown, first.whole, first.changed) == (MOST, False, None)


def test_what_feeds_many_joins_none_of_them() -> None:
    def graph(number: int) -> onnx.ModelProto:
        nodes, at = [helper.make_node("Shape", ["x"], ["shape"], "shape", start=number)], "x"
        for n in range(30):
            nodes.append(helper.make_node("Relu", [at], [f"r{n}"], f"relu_{n}"))
            nodes.append(helper.make_node("Reshape", [f"r{n}", "shape"], [f"s{n}"], f"reshape_{n}", allowzero=number))
            at = f"s{n}"
        return model(nodes, {}, at)

    found = picture(read(graph(1)), read(graph(0)))
    assert found.changed == 31
    chains = max(found.parts, key=lambda part: part.times)
    assert chains.times >= 28
    assert len(chains.nodes) < 6
    (hub,) = [part for part in found.parts if sum(node.op == "Reshape" for node in part.nodes) == 6]
    assert next(node for node in hub.nodes if node.name == "shape").cut == 24
    assert sum(node.kind == "node" for part in found.parts for node in part.nodes) <= MOST


def test_who_reads_two_values_of_a_node_is_one_reader() -> None:
    def graph(op: str) -> onnx.ModelProto:
        nodes, at = [], "x"
        for n in range(30):
            nodes.append(helper.make_node("Split", [at], [f"a{n}", f"b{n}"], f"split_{n}", axis=op == "Add"))
            nodes += [helper.make_node(op, [f"a{n}", f"b{n}"], [f"{k}{n}"], f"{k}_{n}") for k in "pqrs"]
            nodes.append(helper.make_node("Sum", [f"{k}{n}" for k in "pqrs"], [f"y{n}"], f"sum_{n}"))
            at = f"y{n}"
        return model(nodes, {}, at)

    found = picture(read(graph("Add")), read(graph("Mul")))
    part = max(found.parts, key=lambda part: part.times)
    assert part.times >= 28
    assert len(names(part.nodes, "changed")) == 5


def test_subgraphs_are_one_box_that_reads_what_they_read() -> None:
    found = picture(read(branches(50)), None)
    boxes = found.parts[0].nodes
    assert found.whole
    ifs = [node for node in boxes if node.op == "If"]
    assert len(ifs) == 50
    assert {node.nested for node in ifs} == {6}
    number = {id(node): at for at, node in enumerate(boxes)}
    assert all(later.reads == (number[id(earlier)],) for earlier, later in itertools.pairwise(ifs))


def test_long_names_are_cut_and_edges_hold() -> None:
    long = "n" * 10_000
    nodes = [helper.make_node("Relu", ["x"], [long], long), helper.make_node("Abs", [long], ["y"], long + "2")]
    boxes = picture(read(model(nodes, {})), None).parts[0].nodes
    assert max(len(node.name) for node in boxes) <= 120
    assert [node.reads for node in boxes] == [(), (0,), (1,), (2,)]


def test_a_graph_that_gives_back_its_input() -> None:
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    proto = helper.make_model(helper.make_graph([], "g", [info], [info]), opset_imports=[helper.make_opsetid("", 20)])
    found = picture(read(proto), None)
    assert found.whole
    assert [node.kind for node in found.parts[0].nodes] == ["input"]
