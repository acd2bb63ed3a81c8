"""The validate stage at the edges of dynamic axes: hidden branches, crashes, shapes, NaN, what the file declares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxbuild.data.calls import write_calls
from onnxbuild.data.edge import Edge
from onnxbuild.data.edges import write_edges
from onnxbuild.proof.sizes import SizeMeasures
from onnxbuild.recipe.types import Session
from onnxbuild.stages.stage import Workspace
from onnxbuild.stages.validate import VALIDATE, ValidateParams

SIZES = (1, 4, 8)


def calls(rows: int) -> np.ndarray:
    return np.arange(1, rows * 2 + 1, dtype=np.float32).reshape(rows, 2)


def sizes(folder: Path, model: str, source: Callable[[np.ndarray], np.ndarray]) -> dict[str, SizeMeasures]:
    """Measure a model in ONNX's text against a source, on a call of four rows and at the edges."""
    (folder / "model").mkdir()
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {model}')
    onnx.save(proto, folder / "model/model.onnx")
    write_calls(folder / "calls", [{"x": calls(4)}])
    write_calls(folder / "reference", [{"y": source(calls(4))}])
    edges = [Edge(sizes={"batch": rows}) for rows in SIZES]
    write_edges(folder / "edges", [(edge, {"x": calls(edge.sizes["batch"])}) for edge in edges])
    write_edges(folder / "edges_reference", [(edge, {"y": source(calls(edge.sizes["batch"]))}) for edge in edges])
    inputs = {name: folder / name for name in ("model", "calls", "reference", "edges", "edges_reference")}
    work = Workspace(inputs=inputs, files={}, out=folder, scratch=folder, recipe_folder=folder)
    params = ValidateParams(provider="cpu", session=Session(), metric=None, output=None, axis=-1, average=None, k=5)
    found = VALIDATE.run(params, work).sizes
    assert found is not None
    return {size.edge.name: size for size in found}


DOUBLE = "g (float[batch, 2] x) => (float[batch, 2] y) { y = Add(x, x) }"


def test_every_size_is_measured_against_the_source_at_that_size(tmp_path: Path) -> None:
    found = sizes(tmp_path, DOUBLE, lambda x: x * 2)
    assert list(found) == ["batch 1", "batch 4", "batch 8"]
    for rows, size in zip(SIZES, found.values(), strict=True):
        (output,) = size.outputs
        assert (output.shape, output.expected, output.misdeclared) == ((rows, 2), (rows, 2), None)
        assert output.measures is not None
        assert (output.measures.max_abs, output.measures.elements) == (0.0, rows * 2)


def test_a_branch_on_the_batch_size_is_found_where_it_leads_elsewhere(tmp_path: Path) -> None:
    branching = """g (float[batch, 2] x) => (float[batch, 2] y) <int64 one = {1}, int64 zero = {0}> {
        shape = Shape(x)
        rows = Gather(shape, zero)
        single = Equal(rows, one)
        y = If(single) <then_branch = a () => (float[batch, 2] b) { b = Mul(x, x) },
                        else_branch = c () => (float[batch, 2] d) { d = Add(x, x) }>
    }"""
    found = sizes(tmp_path, branching, lambda x: x * 2)
    off = {name: size.outputs[0].measures.max_abs for name, size in found.items() if size.outputs[0].measures}
    assert off == {"batch 1": 1.0, "batch 4": 0.0, "batch 8": 0.0}


def test_a_crash_at_a_size_is_a_finding_and_the_others_are_measured(tmp_path: Path) -> None:
    pairs = "g (float[batch, 2] x) => (float[batch, 2] y) <int64[3] p = {-1, 4, 2}, int64[2] r = {-1, 2}>"
    found = sizes(tmp_path, pairs + "{ q = Reshape(x, p) y = Reshape(q, r) }", lambda x: x)
    failure = found["batch 1"].failure
    assert failure is not None
    assert "Reshape" in failure
    assert found["batch 4"].failure is None
    assert found["batch 8"].outputs[0].measures is not None


def test_another_shape_than_the_sources_is_not_measured(tmp_path: Path) -> None:
    squeezing = sizes(tmp_path, DOUBLE, lambda x: x * 2 if len(x) > 1 else (x * 2)[0])
    (output,) = squeezing["batch 1"].outputs
    assert (output.shape, output.expected, output.measures) == ((1, 2), (2,), None)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan_and_infinity_of_the_models_own_are_counted(tmp_path: Path) -> None:
    found = sizes(tmp_path, "g (float[batch, 2] x) => (float[batch, 2] y) { z = Sub(x, x) y = Div(x, z) }", lambda x: x)
    assert [size.outputs[0].nonfinite for size in found.values()] == [2, 8, 16]


def test_an_output_declared_static_that_is_dynamic_is_named(tmp_path: Path) -> None:
    found = sizes(tmp_path, DOUBLE.replace("(float[batch, 2] y)", "(float[4, 2] y)"), lambda x: x * 2)
    assert found["batch 1"].outputs[0].misdeclared == "axis 0 is declared to be 4 and is 1"
    assert found["batch 4"].outputs[0].misdeclared is None


def test_an_output_declared_dynamic_that_is_static_is_named(tmp_path: Path) -> None:
    first = "g (float[batch, 2] x) => (float[batch, 2] y) <bool[1] yes = {1}> { y = Compress <axis = 0> (x, yes) }"
    found = sizes(tmp_path, first, lambda x: x[:1])
    assert found["batch 4"].outputs[0].misdeclared == "axis 0 is declared to be 'batch', which is 4, and is 1"
    assert found["batch 1"].outputs[0].misdeclared is None
