"""Pruning: exact counts of zeros, n:m patterns along the reduction axis, wherever weights are kept."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir import pruning
from onnxbuild.ir.model import read_model, write_model
from onnxbuild.recipe.types import Pruning
from onnxbuild.stages.prune import PRUNE, PruneFacts, PruneParams
from onnxbuild.stages.stage import Workspace
from tests.stages.models import (
    FLOAT,
    cnn,
    constant,
    delivered,
    mlp,
    model,
    node,
    random,
    tensor,
    value,
    weight,
    workspace,
)
from tests.stages.test_branches import carried

MAGNITUDE = Pruning(method="magnitude", sparsity=0.5)


def prune(tmp_path: Path, proto: onnx.ModelProto, how: Pruning) -> tuple[PruneFacts, Workspace]:
    ws = workspace(tmp_path, proto)
    return PRUNE.run(PruneParams(pruning=how), ws), ws


def zeros(graph: ir.Model, name: str) -> int:
    return int(np.count_nonzero(tensor(graph, name) == 0))


def matmul(array: np.ndarray | onnx.TensorProto) -> onnx.ModelProto:
    proto = array if isinstance(array, onnx.TensorProto) else numpy_helper.from_array(array, "w")
    return model(
        [node("MatMul", ["x", "w"], ["y"], name="fc/MatMul")],
        [proto],
        inputs=[value("x", "batch", proto.dims[0], dtype=proto.data_type)],
        outputs=[value("y", "batch", proto.dims[1], dtype=proto.data_type)],
    )


def test_layer_scope_prunes_exactly_the_share_of_every_tensor(tmp_path: Path) -> None:
    facts, ws = prune(tmp_path, mlp(), Pruning(method="magnitude", sparsity=0.3))
    graph = delivered(ws)
    assert {t.name: t.zeros for t in facts.tensors} == {"fc1.weight": round(0.3 * 128), "fc2.weight": round(0.3 * 64)}
    assert zeros(graph, "fc1.weight") == 38
    assert zeros(graph, "fc2.weight") == 19
    assert zeros(graph, "fc1.bias") == 0
    assert ws.warnings == []


def test_smallest_magnitudes_go_and_the_others_stay(tmp_path: Path) -> None:
    array = random().standard_normal((16, 8)).astype(np.float32)
    _, ws = prune(tmp_path, matmul(array), MAGNITUDE)
    result = tensor(delivered(ws), "w")
    gone = result == 0
    assert np.abs(array[gone]).max() < np.abs(array[~gone]).min()
    np.testing.assert_array_equal(result[~gone], array[~gone])


def test_ties_are_broken_by_order_so_that_the_count_is_exact(tmp_path: Path) -> None:
    _, ws = prune(tmp_path, matmul(np.full((4, 6), -2.0, np.float32)), Pruning(method="magnitude", sparsity=0.25))
    np.testing.assert_array_equal(tensor(delivered(ws), "w").reshape(-1) == 0, np.arange(24) < 6)


def test_global_scope_prunes_the_share_of_all_tensors_together(tmp_path: Path) -> None:
    facts, ws = prune(tmp_path, cnn(), Pruning(method="magnitude", sparsity=0.5, scope="global"))
    assert sum(t.zeros for t in facts.tensors) == (72 + 1152 + 160) // 2
    kept = np.concatenate([tensor(delivered(ws), t.name).reshape(-1) for t in facts.tensors])
    assert len({t.zeros / t.elements for t in facts.tensors}) > 1
    assert np.count_nonzero(kept == 0) == 692


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_float_types_keep_their_type(dtype: type) -> None:
    array = random().standard_normal((8, 8)).astype(dtype)
    graph = ir.from_proto(matmul(ir.to_proto(ir.Tensor(array, name="w"))))
    pruned = pruning.prune(graph, MAGNITUDE)
    result = tensor(graph, "w")
    assert [t.zeros for t in pruned] == [32]
    assert result.dtype == np.dtype(dtype)
    assert np.count_nonzero(result == 0) == 32


def test_threshold_prunes_only_tensors_mostly_under_it(tmp_path: Path) -> None:
    small = np.where(np.arange(64) < 40, 0.01, 1.0).reshape(8, 8).astype(np.float32)
    exactly = np.where(np.arange(64) < 32, 0.01, 1.0).reshape(8, 8).astype(np.float32)
    proto = model(
        [
            node("MatMul", ["x", "small"], ["h"], name="a/MatMul"),
            node("MatMul", ["h", "exactly"], ["y"], name="b/MatMul"),
        ],
        [numpy_helper.from_array(small, "small"), numpy_helper.from_array(exactly, "exactly")],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 8)],
    )
    facts, ws = prune(tmp_path, proto, Pruning(method="threshold", threshold=0.1))
    assert zeros(delivered(ws), "small") == 40
    assert zeros(delivered(ws), "exactly") == 0
    assert [t.zeros for t in facts.tensors] == [40, 0]


def test_threshold_is_strict(tmp_path: Path) -> None:
    array = np.array([[0.25, 0.25, 0.125, 0.125, 0.125, 1.0]] * 2, np.float32)
    _, ws = prune(tmp_path, matmul(array), Pruning(method="threshold", threshold=0.25, min_sparsity=0.4))
    np.testing.assert_array_equal(tensor(delivered(ws), "w") == 0, array == 0.125)


def two_of_four(array: np.ndarray, axis: int) -> bool:
    lines = np.moveaxis(array, axis, -1)
    groups = lines.reshape(-1, lines.shape[-1] // 4, 4)
    return bool((np.count_nonzero(groups, axis=-1) == 2).all())


def test_two_of_four_stay_along_the_axis_that_is_summed(tmp_path: Path) -> None:
    two_four = Pruning(method="n:m", n=2, m=4)
    _, ws = prune(tmp_path / "cnn", cnn(), two_four)
    graph = delivered(ws)
    assert two_of_four(tensor(graph, "conv2.weight"), axis=1)
    assert two_of_four(tensor(graph, "fc.weight"), axis=0)
    assert not two_of_four(tensor(graph, "conv2.weight"), axis=0)
    _, ws = prune(tmp_path / "mlp", mlp(), two_four)
    assert two_of_four(tensor(delivered(ws), "fc2.weight"), axis=1)  # transB


def test_a_short_last_group_keeps_its_n_largest(tmp_path: Path) -> None:
    array = np.arange(1, 7, dtype=np.float32).reshape(6, 1)
    _, ws = prune(tmp_path, matmul(array), Pruning(method="n:m", n=1, m=4))
    np.testing.assert_array_equal(tensor(delivered(ws), "w").reshape(-1), [0, 0, 0, 4, 0, 6])


def test_weights_behind_a_transpose_follow_its_axes(tmp_path: Path) -> None:
    proto = model(
        [
            node("Transpose", ["w"], ["wt"], perm=[1, 0], name="fc/Transpose"),
            node("MatMul", ["x", "wt"], ["y"], name="fc/MatMul"),
        ],
        [weight("w", 6, 8)],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 6)],
    )
    _, ws = prune(tmp_path, proto, Pruning(method="n:m", n=2, m=4))
    assert two_of_four(tensor(delivered(ws), "w"), axis=1)


def test_weights_in_subgraphs_are_pruned(tmp_path: Path) -> None:
    then = helper.make_graph(
        [constant("wt", 8, 4), node("MatMul", ["x", "wt"], ["t"], name="then/MatMul")],
        "then",
        [],
        [helper.make_tensor_value_info("t", FLOAT, None)],
    )
    other = helper.make_graph(
        [node("MatMul", ["x", "we"], ["e"], name="else/MatMul")],
        "else",
        [],
        [helper.make_tensor_value_info("e", FLOAT, None)],
        [weight("we", 8, 4)],
    )
    proto = model(
        [node("If", ["flag"], ["y"], name="if", then_branch=then, else_branch=other)],
        inputs=[value("x", "batch", 8), value("flag", dtype=onnx.TensorProto.BOOL)],
        outputs=[value("y", "batch", 4)],
    )
    facts, ws = prune(tmp_path, proto, MAGNITUDE)
    assert sorted((t.node, t.zeros) for t in facts.tensors) == [("else/MatMul", 16), ("then/MatMul", 16)]
    data = onnx.load(ws.out / "model" / "model.onnx").SerializeToString()
    again = ir.from_proto(onnx.load_from_string(data))
    arrays = [v.const_value.numpy() for g in again.graphs() for v in g.initializers.values() if v.const_value]
    arrays += [n.attributes["value"].as_tensor().numpy() for g in again.graphs() for n in g if n.op_type == "Constant"]
    assert [int(np.count_nonzero(a == 0)) for a in arrays if a.shape == (8, 4)] == [16, 16]


def test_weights_that_a_loop_carries_as_state_are_pruned(tmp_path: Path) -> None:
    facts, _ = prune(tmp_path, carried(), MAGNITUDE)
    assert [(t.name, t.node, t.zeros) for t in facts.tensors] == [("w", "body/MatMul", 512)]


def test_weights_passed_to_a_function_and_in_its_body_are_pruned(tmp_path: Path) -> None:
    function = helper.make_function(
        "local",
        "Linear",
        ["a", "w"],
        ["b"],
        [
            node("MatMul", ["a", "w"], ["m"], name="MatMul"),
            constant("inner", 4, 4),
            node("MatMul", ["m", "inner"], ["b"], name="Inner"),
        ],
        [helper.make_opsetid("", 20)],
    )
    proto = model(
        [node("Linear", ["x", "outer"], ["y"], domain="local", name="fc/Linear")],
        [weight("outer", 8, 4)],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 4)],
        functions=[function],
        domains=["local"],
    )
    facts, ws = prune(tmp_path, proto, MAGNITUDE)
    assert sorted(t.zeros for t in facts.tensors) == [8, 16]
    assert zeros(delivered(ws), "outer") == 16


def test_a_shared_weight_is_pruned_once(tmp_path: Path) -> None:
    proto = model(
        [node("MatMul", ["x", "w"], ["h"], name="a/MatMul"), node("MatMul", ["h", "w"], ["y"], name="b/MatMul")],
        [weight("w", 8, 8)],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 8)],
    )
    facts, ws = prune(tmp_path, proto, MAGNITUDE)
    assert [(t.name, t.node) for t in facts.tensors] == [("w", "a/MatMul")]
    assert zeros(delivered(ws), "w") == 32


def test_exclude_and_include_name_scopes_and_tensors(tmp_path: Path) -> None:
    facts, _ = prune(tmp_path / "a", mlp(), Pruning(method="magnitude", sparsity=0.5, exclude=("fc2",)))
    assert [t.name for t in facts.tensors] == ["fc1.weight"]
    facts, ws = prune(tmp_path / "b", mlp(), Pruning(method="magnitude", sparsity=0.5, include=("*2.weight",)))
    assert [t.name for t in facts.tensors] == ["fc2.weight"]
    assert zeros(delivered(ws), "fc1.weight") == 0


def test_a_pattern_that_matches_nothing_is_a_failure_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(StageFailure, match="'fc3' matches none") as caught:
        prune(tmp_path, mlp(), Pruning(method="magnitude", sparsity=0.5, exclude=("fc3",)))
    assert caught.value.code == "pattern-matches-nothing"
    assert caught.value.hint == "did you mean 'fc2'?"


def test_a_model_without_weights_is_delivered_as_it_is_with_a_warning(tmp_path: Path) -> None:
    proto = model([node("Relu", ["x"], ["y"])], inputs=[value("x", 3)], outputs=[value("y", 3)])
    facts, ws = prune(tmp_path, proto, MAGNITUDE)
    assert facts.tensors == ()
    assert [warning.code for warning in ws.warnings] == ["no-effect"]
    assert (ws.out / "model/model.onnx").read_bytes() == (ws.inputs["model"] / "model.onnx").read_bytes()


def test_pruning_a_pruned_model_again_changes_nothing(tmp_path: Path) -> None:
    _, first = prune(tmp_path / "a", mlp(), MAGNITUDE)
    ws = workspace(tmp_path / "b", mlp())
    write_model(read_model(first.out / "model"), ws.inputs["model"])
    PRUNE.run(PruneParams(pruning=MAGNITUDE), ws)
    assert [warning.code for warning in ws.warnings] == ["no-effect"]


def test_names_opset_and_metadata_stay(tmp_path: Path) -> None:
    facts, ws = prune(tmp_path, cnn(), MAGNITUDE)
    graph = delivered(ws)
    assert [v.name for v in graph.graph.inputs] == ["image"]
    assert [v.name for v in graph.graph.outputs] == ["logits"]
    assert graph.metadata_props == {"team": "kiosk"}
    assert facts.model.opsets == {"": 20}
    assert facts.model.ir_version == 10


def test_not_a_number_is_never_pruned(tmp_path: Path) -> None:
    array = np.array([[np.nan, 1, 2, 3]] * 4, np.float32)
    _, ws = prune(tmp_path / "a", matmul(array), MAGNITUDE)
    assert np.isnan(tensor(delivered(ws), "w")[:, 0]).all()
    _, ws = prune(tmp_path / "b", matmul(array.T.copy()), Pruning(method="n:m", n=1, m=4))
    assert np.isnan(tensor(delivered(ws), "w")[0]).all()
