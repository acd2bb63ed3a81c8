"""Small packages, delivered by the real command, for the tests of the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.project import MLP, Project, write_mlp

WORDS = """\
format: 1
source: {framework: onnx, path: models/words.onnx}
inputs:
  word: {dtype: string, shape: [batch, 1]}
  number: {dtype: float32, shape: [batch, 2]}
outputs: [code, doubled]
dynamic_axes: {batch: {max: 16}}
evaluation: {data: data/words.npz}
"""
ROWS = """\
format: 1
source: {framework: onnx, path: models/%s.onnx}
inputs: {x: {dtype: float32, shape: [batch, 4]}}
outputs: [y]
dynamic_axes: {batch: {min: 4, max: 8, multiple_of: 4}}
session: {intra_op_threads: 2, graph_optimization: basic, memory_pattern: false, cpu_arena: false}
package: {metadata: {team: kiosk}}
"""


@pytest.fixture(scope="session")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `build` of a project: mlp, words (strings), steady (rows apart) and centred (rows together)."""
    project = Project(tmp_path_factory.mktemp("runtime"))
    write_mlp(project)
    project.recipe("mlp", MLP)
    project.recipe("words", WORDS)
    floats, texts = TensorProto.FLOAT, TensorProto.STRING
    encode = helper.make_node(
        "LabelEncoder", ["word"], ["code"], "encode", domain="ai.onnx.ml", keys_strings=["red", "blue"],
        values_int64s=[1, 2], default_int64=0,
    )  # fmt: skip
    double = helper.make_node("Add", ["number", "number"], ["doubled"], "double")
    word, code = _value("word", texts, 1), _value("code", TensorProto.INT64, 1)
    _save(project, "words", [encode, double], [word, _value("number", floats, 2)], [code, _value("doubled", floats, 2)])
    np.savez(
        project.root / "recipes/data/words.npz",
        word=np.array([["red"], ["blue"], ["pink"]]),
        number=np.arange(6, dtype=np.float32).reshape(3, 2),
    )
    x, y = [_value("x", floats, 4)], [_value("y", floats, 4)]
    _save(project, "steady", [helper.make_node("Relu", ["x"], ["y"], "relu")], x, y)
    axes = numpy_helper.from_array(np.array([0], np.int64), "axes")
    mean = helper.make_node("ReduceMean", ["x", "axes"], ["mean"], "mean", keepdims=1)
    _save(project, "centred", [mean, helper.make_node("Sub", ["x", "mean"], ["y"], "centre")], x, y, [axes])
    for name in ("steady", "centred"):
        project.recipe(name, ROWS % name)
    made = project.make()
    assert made.code == 0, made.err
    return project.root / "build"


def _value(name: str, kind: int, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["n", width])


def _save(
    project: Project,
    name: str,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Sequence[onnx.TensorProto] = (),
) -> None:
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, ir_version=10), project.root / f"recipes/models/{name}.onnx"
    )
