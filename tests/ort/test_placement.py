"""What the runtime's records say, on recorded data: nodes by provider, reasons, kernels, copies, time."""

from __future__ import annotations

from onnxbuild.ort.placement import FELL_BACK_CAP, read_assignment, read_profile, read_reasons
from tests.ort.recorded import (
    CPU,
    CUDA,
    CUDA_LOG,
    CUDA_PROFILE,
    CUDA_RECORD,
    OPENVINO_PROFILE,
    QNN_LOG,
    TENSORRT,
    TENSORRT_RECORD,
    alone,
)


def test_nodes_are_counted_by_provider_and_operator():
    found = read_assignment([*CUDA_RECORD, *alone(CUDA, ("com.microsoft", "FusedMatMul", "attn/MatMul"))], CUDA)
    assert (found.nodes, found.got(CUDA), found.got(CPU)) == (13, 8, 5)
    assert [placed.provider for placed in found.placed] == [CUDA, CPU]
    of_cuda = {"Add": 1, "LpNormalization": 1, "MatMul": 2, "Mul": 1, "Relu": 1, "Shape": 1}
    assert found.placed[0].operators == {**of_cuda, "com.microsoft.FusedMatMul": 1}


def test_a_node_that_fell_back_says_why_where_the_log_does():
    record = [*CUDA_RECORD, *alone(CPU, ("", "Tokenize", "text/Tokenize"))]
    reasons = {node.node: node.reason for node in read_assignment(record, CUDA, CUDA_LOG).fell_back}
    assert [reasons[name] for name in ("sinh", "hardmax", "unique")] == [
        f"CUDA has no kernel for {operator} with these types" for operator in ("Sinh", "Hardmax", "Unique")
    ]
    assert all(
        (reasons[name] or "").startswith("the CPU execution path is deemed faster") for name in ("cast", "least")
    )
    assert reasons["text/Tokenize"] is None


def test_what_qualcomms_provider_says_of_nodes():
    log = (
        "2026-11-26 05:12:34.283726990 [V:onnxruntime:, qnn_execution_provider.cc:1713 LogNodeSupport] Validation "
        "FAILED for 1 nodes in OrtNodeUnit (MatMul) :\n\tOperator type: MatMul Node name: fc1/MatMul Node index: 0\n"
        "\tREASON : Cannot get shape\n\n"
        "2026-11-26 05:12:34.284206876 [V:onnxruntime:, qnn_execution_provider.cc:1713 LogNodeSupport] Validation "
        "FAILED for 2 nodes in OrtNodeUnit (Erf) :\n\tOperator type: DequantizeLinear Node name: dq Node index: 1\n"
        "\tOperator type: Erf Node name: erf Node index: 2\n\tREASON : Operators of type `Erf` are not supported.\n"
    )
    assert read_reasons(log) == {
        "fc1/MatMul": "Cannot get shape",
        "erf": "Operators of type `Erf` are not supported",
    }


def test_a_provider_that_took_nothing_has_the_runtimes_own_words():
    found = read_assignment(alone(CPU, ("", "Conv", "conv")), "QNNExecutionProvider", QNN_LOG)
    assert found.got("QNNExecutionProvider") == 0
    assert "libQnnCpu.so: cannot open shared object file" in (found.fell_back[0].reason or "")
    assert "\x1b" not in (found.fell_back[0].reason or "")


def test_nodes_taken_together_count_each_and_cuda_is_elsewhere_for_tensorrt():
    found = read_assignment(TENSORRT_RECORD, TENSORRT)
    assert (found.got(TENSORRT), found.got(CUDA)) == (3, 1)
    assert [(node.node, node.provider) for node in found.fell_back] == [("nms", CUDA)]


def test_long_lists_are_cut_and_counted():
    found = read_assignment(alone(CPU, *(("", "Relu", f"r{i}") for i in range(FELL_BACK_CAP + 9))), CUDA)
    assert (len(found.fell_back), found.fell_back_count) == (FELL_BACK_CAP, FELL_BACK_CAP + 9)


def test_kernels_copies_and_time_of_two_runs():
    found = read_profile(CUDA_PROFILE)
    assert (found.kernels, found.copies) == (18, 6)
    assert found.time == {CPU: 61 / 311, CUDA: 250 / 311}, "the first run of a kernel loads it and is not counted"


def test_one_run_is_all_there_is():
    first = CUDA_PROFILE[: 1 + len(CUDA_PROFILE) // 2]
    assert read_profile(first).time[CUDA] > 0.99


def test_a_fused_provider_is_one_kernel():
    found = read_profile(OPENVINO_PROFILE)
    assert (found.kernels, found.copies, found.time) == (1, 0, {"OpenVINOExecutionProvider": 1.0})


def test_nothing_ran():
    assert read_profile([]).time == {}
