"""Small ONNX files that are meant to hurt whoever opens them; each case writes its files into a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
Case = Callable[[Path], bytes]
CASES: dict[str, tuple[Case, str]] = {}
"""By name: what writes side files into a folder and returns the model's bytes, and a word of the reason expected."""


def case(reason: str) -> Callable[[Case], Case]:
    """Register a case that is refused with `reason` in its message."""

    def register(function: Case) -> Case:
        CASES[function.__name__] = (function, reason)
        return function

    return register


def value(name: str, dims: list[int | str] | None, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, dims)


def model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto] | None = None,
    weights: list[onnx.TensorProto] | None = None,
    functions: list[onnx.FunctionProto] | None = None,
    rank: int = 1,
) -> onnx.ModelProto:
    x = [value("x", [2])] if inputs is None else inputs
    graph = helper.make_graph(nodes, "g", x, [value("y", ["d"] * rank)], weights or [])
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("f", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=functions or [])


def relu() -> onnx.NodeProto:
    return helper.make_node("Relu", ["x"], ["y"])


def external(dims: list[int], **entries: str) -> bytes:
    tensor = onnx.TensorProto(name="w", data_type=FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=text)
    return model([helper.make_node("Add", ["x", "w"], ["y"])], weights=[tensor]).SerializeToString()


@case("2^31")
def expand_142_bytes(_: Path) -> bytes:
    """The shape input claims 2^63-1 entries: inference makes that many dims."""
    node = helper.make_node("Expand", ["x", "s"], ["y"])
    return model([node], [value("x", [1]), value("s", [2**63 - 1], INT64)]).SerializeToString()


@case("takes a shape of")
def expand_to_a_billion_dims(_: Path) -> bytes:
    node = helper.make_node("Expand", ["x", "s"], ["y"])
    return model([node], [value("x", [1]), value("s", [2**30], INT64)]).SerializeToString()


@case("out of a constant")
def expand_to_a_huge_constant_shape(_: Path) -> bytes:
    shape = numpy_helper.from_array(np.array([2**20, 2**20]), "s")
    return model([helper.make_node("Expand", ["x", "s"], ["y"])], weights=[shape]).SerializeToString()


@case("out of a constant")
def constant_of_shape_from_a_constant_node(_: Path) -> bytes:
    nodes = [
        helper.make_node("Constant", [], ["s"], value_ints=[2**15, 2**15, 2**15]),
        helper.make_node("ConstantOfShape", ["s"], ["y"]),
    ]
    return model(nodes).SerializeToString()


@case("out of a constant")
def tile_a_trillion_times(_: Path) -> bytes:
    repeats = numpy_helper.from_array(np.array([10**12]), "r")
    return model([helper.make_node("Tile", ["x", "r"], ["y"])], weights=[repeats]).SerializeToString()


@case("out of a constant")
def range_without_end(_: Path) -> bytes:
    ends = [numpy_helper.from_array(np.array(v), n) for n, v in (("a", 0), ("b", 2**62), ("c", 1))]
    return model([helper.make_node("Range", ["a", "b", "c"], ["y"])], weights=ends).SerializeToString()


@case("out of a constant")
def pad_by_a_trillion(_: Path) -> bytes:
    pads = numpy_helper.from_array(np.array([0, 10**12]), "p")
    return model([helper.make_node("Pad", ["x", "p"], ["y"])], weights=[pads]).SerializeToString()


@case("out of a constant")
def random_numbers_without_end(_: Path) -> bytes:
    return model([helper.make_node("RandomNormal", [], ["y"], shape=[2**20, 2**20])]).SerializeToString()


@case("once its")
def doubling_functions(_: Path) -> bytes:
    functions = []
    for level in range(40):
        callee = ("Relu", "") if level == 0 else (f"F{level - 1}", "f")
        nodes = [helper.make_node(callee[0], ["a"], ["m"], domain=callee[1])]
        nodes.append(helper.make_node(callee[0], ["m"], ["b"], domain=callee[1]))
        imports = [helper.make_opsetid("", 20), helper.make_opsetid("f", 1)]
        functions.append(helper.make_function("f", f"F{level}", ["a"], ["b"], nodes, imports))
    return model([helper.make_node("F39", ["x"], ["y"], domain="f")], functions=functions).SerializeToString()


@case("circle")
def function_that_calls_itself(_: Path) -> bytes:
    nodes = [helper.make_node("F", ["a"], ["b"], domain="f")]
    function = helper.make_function("f", "F", ["a"], ["b"], nodes, [helper.make_opsetid("f", 1)])
    return model([helper.make_node("F", ["x"], ["y"], domain="f")], functions=[function]).SerializeToString()


@case("deep")
def chain_of_a_thousand_functions(_: Path) -> bytes:
    functions = []
    for level in range(1000):
        callee = ("Relu", "") if level == 0 else (f"F{level - 1}", "f")
        nodes = [helper.make_node(callee[0], ["a"], ["b"], domain=callee[1])]
        imports = [helper.make_opsetid("", 20), helper.make_opsetid("f", 1)]
        functions.append(helper.make_function("f", f"F{level}", ["a"], ["b"], nodes, imports))
    return model([helper.make_node("F999", ["x"], ["y"], domain="f")], functions=functions).SerializeToString()


@case("nodes")
def a_million_empty_nodes(_: Path) -> bytes:
    """Two bytes each in the file, hundreds each once parsed."""
    graph = b"\x0a\x00" * 1_000_001
    length = len(graph)
    prefix = b""
    while True:
        prefix += bytes([length & 0x7F | (0x80 if length > 0x7F else 0)])
        length >>= 7
        if not length:
            break
    return b"\x08\x0a\x3a" + prefix + graph


@case("nest")
def five_hundred_nested_graphs(_: Path) -> bytes:
    graph = b""
    for _level in range(500):
        attribute = field(6, graph)
        graph = field(1, field(5, attribute))
    return b"\x08\x0a" + field(7, graph)


def field(number: int, content: bytes) -> bytes:
    """Return a length-delimited protobuf field."""
    length, prefix = len(content), bytearray([number << 3 | 2])
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(prefix) + bytes([length]) + content


@case("cut off")
def truncated_file(_: Path) -> bytes:
    weights = [numpy_helper.from_array(np.ones(100, np.float32), "w")]
    return model([helper.make_node("Add", ["x", "w"], ["y"])], weights=weights).SerializeToString()[:-200]


@case("empty")
def empty_file(_: Path) -> bytes:
    return b""


@case("Git LFS")
def git_lfs_pointer(_: Path) -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


@case("not")
def a_text_file(_: Path) -> bytes:
    return b"<html><body>404 Not Found</body></html>\n" * 10


@case("no graph")
def message_without_a_graph(_: Path) -> bytes:
    return onnx.ModelProto(ir_version=10).SerializeToString()


@case("imports no opset")
def no_opset(_: Path) -> bytes:
    proto = model([relu()])
    del proto.opset_import[:]
    return proto.SerializeToString()


@case("opset 9999")
def opset_of_the_future(_: Path) -> bytes:
    proto = model([relu()])
    proto.opset_import[0].version = 9999
    return proto.SerializeToString()


@case("IR version")
def ir_version_of_the_future(_: Path) -> bytes:
    proto = model([relu()])
    proto.ir_version = 2**40
    return proto.SerializeToString()


@case("domain")
def operator_of_a_foreign_domain(_: Path) -> bytes:
    return model([helper.make_node("Run", ["x"], ["y"], domain="evil.ops")]).SerializeToString()


@case("not defined")
def function_that_is_not_there(_: Path) -> bytes:
    nodes = [helper.make_node("Relu", ["a"], ["b"])]
    function = helper.make_function("f", "F", ["a"], ["b"], nodes, [helper.make_opsetid("", 20)])
    return model([helper.make_node("G", ["x"], ["y"], domain="f")], functions=[function]).SerializeToString()


@case("outside")
def external_data_above_the_folder(folder: Path) -> bytes:
    (folder.parent / "secret.bin").write_bytes(bytes(8))
    return external([2], location="../secret.bin")


@case("outside")
def external_data_at_an_absolute_path(_: Path) -> bytes:
    return external([2], location="/etc/passwd")


@case("outside")
def external_data_on_another_drive(_: Path) -> bytes:
    return external([2], location="C:\\secret.bin")


@case("symbolic link")
def external_data_through_a_symbolic_link(folder: Path) -> bytes:
    (folder.parent / "secret.bin").write_bytes(bytes(8))
    (folder / "w.bin").symlink_to(folder.parent / "secret.bin")
    return external([2], location="w.bin")


@case("symbolic link")
def external_data_through_a_linked_folder(folder: Path) -> bytes:
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere" / "w.bin").write_bytes(bytes(8))
    (folder / "sub").symlink_to(folder.parent / "elsewhere")
    return external([2], location="sub/w.bin")


@case("hard link")
def external_data_in_a_hard_link(folder: Path) -> bytes:
    (folder.parent / "secret.bin").write_bytes(bytes(8))
    os.link(folder.parent / "secret.bin", folder / "w.bin")
    return external([2], location="w.bin")


@case("not there")
def external_data_that_is_missing(_: Path) -> bytes:
    return external([2], location="w.bin")


@case("reaches to byte")
def external_data_past_the_end(folder: Path) -> bytes:
    (folder / "w.bin").write_bytes(bytes(8))
    return external([2], location="w.bin", offset="4")


@case("not a number")
def external_data_at_a_negative_offset(folder: Path) -> bytes:
    (folder / "w.bin").write_bytes(bytes(8))
    return external([2], location="w.bin", offset="-8")


@case("claims")
def external_data_of_another_length(folder: Path) -> bytes:
    (folder / "w.bin").write_bytes(bytes(80))
    return external([2], location="w.bin", length="80")


@case("has the dims")
def negative_dims_of_a_weight(_: Path) -> bytes:
    tensor = onnx.TensorProto(name="w", data_type=FLOAT, dims=[-2], raw_data=bytes(8))
    return model([helper.make_node("Add", ["x", "w"], ["y"])], weights=[tensor]).SerializeToString()


@case("where its dims need")
def weight_without_its_content(_: Path) -> bytes:
    tensor = onnx.TensorProto(name="w", data_type=FLOAT, dims=[2**15, 2**15])
    return model([helper.make_node("Add", ["x", "w"], ["y"])], weights=[tensor]).SerializeToString()


@case("element type")
def weight_of_an_unknown_type(_: Path) -> bytes:
    tensor = onnx.TensorProto(name="w", data_type=99, dims=[1], raw_data=b"1")
    return model([helper.make_node("Add", ["x", "w"], ["y"])], weights=[tensor]).SerializeToString()


@case("sparse")
def sparse_weight_of_absurd_size(_: Path) -> bytes:
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([0])), [2**40])
    proto = model([helper.make_node("Add", ["x", "w"], ["y"])])
    proto.graph.sparse_initializer.append(sparse)
    return proto.SerializeToString()


@case("characters long")
def name_of_a_megabyte(_: Path) -> bytes:
    name = "a" * 2**20
    nodes = [helper.make_node("Relu", ["x"], [name]), helper.make_node("Relu", [name], ["y"])]
    return model(nodes).SerializeToString()


@case("rank")
def input_of_a_thousand_dims(_: Path) -> bytes:
    return model([relu()], [value("x", [1] * 1000)]).SerializeToString()


@case("map")
def map_output(_: Path) -> bytes:
    proto = model([helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])])
    proto.graph.output[0].type.map_type.key_type = INT64
    proto.graph.output[0].type.map_type.value_type.tensor_type.elem_type = FLOAT
    return proto.SerializeToString()


@case("twice")
def two_versions_of_one_opset(_: Path) -> bytes:
    proto = model([relu()])
    proto.opset_import.append(helper.make_opsetid("", 7))
    return proto.SerializeToString()


# What only the child process sees: valid enough to be looked at further.


@case("reads what it makes itself")
def cycle(_: Path) -> bytes:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    nodes.append(helper.make_node("Relu", ["b"], ["y"]))
    return model(nodes).SerializeToString()


@case("redeclared")
def value_that_is_made_twice(_: Path) -> bytes:
    return model([relu(), relu()]).SerializeToString()


@case("not valid ONNX")
def output_that_nothing_makes(_: Path) -> bytes:
    return model([helper.make_node("Relu", ["x"], ["z"])]).SerializeToString()


@case("not valid ONNX")
def unknown_operator(_: Path) -> bytes:
    return model([helper.make_node("Frobnicate", ["x"], ["y"])]).SerializeToString()


@case("ONNX Runtime refuses")
def ranks_that_do_not_fit(_: Path) -> bytes:
    weight = numpy_helper.from_array(np.ones((3, 3, 3, 3), np.float32), "w")
    return model([helper.make_node("Conv", ["x", "w"], ["y"])], weights=[weight], rank=4).SerializeToString()


@case("ONNX Runtime refuses")
def attribute_of_the_wrong_size(_: Path) -> bytes:
    node = helper.make_node("Transpose", ["x"], ["y"], perm=[5, 4, 3, 2, 1, 0])
    return model([node], rank=6).SerializeToString()


@case("memory")
def shape_that_only_running_reveals(_: Path) -> bytes:
    """The shape is computed, so that nothing sees it before the runtime folds it: 2^40 floats."""
    shape = numpy_helper.from_array(np.array([2**20]), "s")
    nodes = [
        helper.make_node("Concat", ["s", "s"], ["shape"], axis=0),
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["y"], keepdims=0),
    ]
    return model(nodes, weights=[shape], rank=0).SerializeToString()
