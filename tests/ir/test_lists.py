"""Long lists in attributes are told with what they take in the file; short ones are not."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from onnxbuild.ir.describe import describe
from onnxbuild.ir.inspect import describe_text
from onnxbuild.ir.lists import LONG, long_lists
from tests.ir.graphs import read

INTS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=9)
TEXTS = st.lists(st.text(max_size=40), min_size=1, max_size=9)


def trees(**attributes: object) -> onnx.ModelProto:
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], "trees", domain="ai.onnx.ml", **attributes)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "g", [value("x", TensorProto.FLOAT, [2, 3])], [value("y", TensorProto.FLOAT, [2, 1])]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 3)], ir_version=10)


@pytest.mark.parametrize("values", [INTS, st.lists(st.floats(width=32), min_size=1, max_size=9), TEXTS])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_bytes_are_what_protobuf_writes(data: st.DataObject, values: st.SearchStrategy[list[object]]) -> None:
    repeated = data.draw(values) * LONG
    kind = {int: "ints", float: "floats", str: "strings"}[type(repeated[0])]
    proto = trees(a=repeated)
    whole = proto.graph.node[0].attribute[0].ByteSize()
    (found,) = long_lists(read(proto))
    proto.graph.node[0].attribute[0].ClearField(kind)
    assert found.bytes == whole - proto.graph.node[0].attribute[0].ByteSize()
    assert (found.node, found.attribute, found.length) == ("trees", "a", len(repeated))


def test_the_largest_first_and_no_short_ones(tmp_path: Path) -> None:
    proto = trees(short=[1] * (LONG - 1), modes=["BRANCH_LEQ"] * LONG, values=[0.5] * LONG, n_targets=1)
    onnx.save(proto, tmp_path / "a.onnx")
    facts = describe(tmp_path / "a.onnx")
    assert [(one.attribute, one.dtype, one.bytes) for one in facts.lists] == [
        ("modes", "string", 12_000), ("values", "float32", 5000),
    ]  # fmt: skip
    assert (facts.list_count, facts.list_bytes) == (2, 17_000)
    assert facts.list_bytes < facts.bytes
    text = describe_text(facts)
    assert "in lists   17 kB of attributes" in text
    assert "trees modes   string   1,000 values  12 kB" in text
    assert facts.picture is not None
    assert facts.picture.parts[0].nodes[1].text.endswith(", 2 long lists")
