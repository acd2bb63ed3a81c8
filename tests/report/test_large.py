"""Pages on large graphs, of thousands of nodes, fifty subgraphs, long lists in attributes, are small and truthful."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from onnxbuild.ir.comparison import compare
from onnxbuild.ir.describe import describe
from onnxbuild.ir.picture import MOST
from onnxbuild.report.render import render_comparison, render_model
from tests.ir.graphs import branches, transformer
from tests.report.page_text import visible_text


def trees(value: float) -> onnx.ModelProto:
    size = 100_000
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], "trees", domain="ai.onnx.ml", n_targets=1,
        nodes_values=[value] + [0.25] * (size - 1), nodes_modes=["BRANCH_LEQ"] * size, nodes_nodeids=list(range(size)),
    )  # fmt: skip
    value_info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "g", [value_info("x", TensorProto.FLOAT, ["n", 3])], [value_info("y", TensorProto.FLOAT, ["n", 1])]
    )
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def retyped(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with another operator in each of its layers, or branches."""
    for node in model.graph.node:
        node.op_type = {"Erf": "Tanh"}.get(node.op_type, node.op_type)
        for attribute in node.attribute:
            for inner in attribute.g.node:
                inner.op_type = {"Abs": "Neg"}.get(inner.op_type, inner.op_type)
    return model


def pages(folder: Path, old: onnx.ModelProto, new: onnx.ModelProto) -> tuple[str, str]:
    onnx.save(old, folder / "old.onnx")
    onnx.save(new, folder / "new.onnx")
    model = render_model(describe(folder / "old.onnx"), "old.onnx")
    difference = render_comparison(compare(folder / "old.onnx", folder / "new.onnx"), "old.onnx", "new.onnx")
    for page in (model, difference):
        assert len(page.encode()) < 600_000
        assert len(re.findall('class="box[ "]', page)) <= MOST + 24
    return visible_text(model), visible_text(difference)


def test_three_thousand_nodes(tmp_path: Path) -> None:
    model, difference = pages(tmp_path, transformer(100), retyped(transformer(100)))
    assert f"Showing the first {MOST} of 3,301 nodes; dots beside a node are edges to nodes" in model
    assert "showing 50 of 1,606" in model
    assert "100 nodes differ (100 retyped)" in difference
    assert "Showing 300 of 3,301 nodes, parts that look the same once; 100 nodes are new or changed" in difference
    assert "100 parts look like this" in difference
    assert "showing 50 of 100" in difference


def test_fifty_subgraphs(tmp_path: Path) -> None:
    model, difference = pages(tmp_path, branches(25), retyped(branches(25)))
    assert model.count("3 nodes") + model.count("6 nodes") >= 25
    assert "75 nodes differ (75 retyped)" in difference
    assert "if_24/else_branch/e24/Abs_2" in difference


@pytest.mark.parametrize("value", [0.75, 0.25])
def test_trees(tmp_path: Path, value: float) -> None:
    model, difference = pages(tmp_path, trees(0.25), trees(value))
    assert "trees | nodes_modes | string | 100,000 | 1.2 MB" in model
    assert "Size | 2.08 MB\nWeights | 0 B in 0 tensors\nLists in attributes | 2.08 MB" in model
    if value == 0.25:
        assert "The models do not differ." in difference
    else:
        assert "nodes_values: 1 of 100,000 values differ, by at most 0.5" in difference
