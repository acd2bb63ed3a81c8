"""Assignment records, profiles and logs as onnxruntime 1.31.1 gave them, cut to what is read of them.

CUDA's are from one H200, of a model of twelve nodes. TENSORRT_RECORD is written by hand after their shape, for no
machine with TensorRT was at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CUDA, CPU, TENSORRT = "CUDAExecutionProvider", "CPUExecutionProvider", "TensorrtExecutionProvider"


@dataclass(frozen=True)
class Node:
    """What onnxruntime.OrtEpAssignedNode tells."""

    domain: str
    op_type: str
    name: str


@dataclass(frozen=True)
class Part:
    """What onnxruntime.OrtEpAssignedSubgraph tells."""

    ep_name: str
    nodes: tuple[Node, ...]

    def get_nodes(self) -> Sequence[Node]:
        return self.nodes


def alone(provider: str, *nodes: tuple[str, str, str]) -> list[Part]:
    """Each node as a part of its own, as providers report that run kernels node by node."""
    return [Part(provider, (Node(*node),)) for node in nodes]


CUDA_RECORD = [
    *alone(
        CUDA,
        ("", "MatMul", "fc1/MatMul"),
        ("", "Relu", "relu"),
        ("", "LpNormalization", "norm"),
        ("", "Add", "add"),
        ("", "MatMul", "fc2/MatMul"),
        ("", "Shape", "shape"),
        ("", "Mul", "scale"),
    ),
    *alone(
        CPU,
        ("", "Sinh", "sinh"),
        ("", "Hardmax", "hardmax"),
        ("", "Cast", "cast"),
        ("", "ReduceMin", "least"),
        ("", "Unique", "unique"),
    ),
]
CUDA_LOG = """\
2026-11-26 05:12:42.471201903 [I:onnxruntime:, cuda_execution_provider.cc:3505 GetCapability] CUDA kernel not found in registries for Op type: Sinh node name: sinh
2026-11-26 05:12:42.471212948 [I:onnxruntime:, cuda_execution_provider.cc:3505 GetCapability] CUDA kernel not found in registries for Op type: Hardmax node name: hardmax
2026-11-26 05:12:42.471273299 [I:onnxruntime:, cuda_execution_provider.cc:3505 GetCapability] CUDA kernel not found in registries for Op type: Unique node name: unique
2026-11-26 05:12:42.471617911 [I:onnxruntime:, fallback_cpu_capability.cc:167 GetCpuPreferredNodes] ORT optimization- Force fallback to CPU execution for node: cast because the CPU execution path is deemed faster than overhead involved with execution on other EPs capable of executing this node
2026-11-26 05:12:42.471646144 [I:onnxruntime:, fallback_cpu_capability.cc:167 GetCpuPreferredNodes] ORT optimization- Force fallback to CPU execution for node: least because the CPU execution path is deemed faster than overhead involved with execution on other EPs capable of executing this node
"""  # noqa: E501
CUDA_PROFILE: list[dict[str, Any]] = [
    {"cat": "Session", "name": "model_run", "dur": 546, "args": {}},
    *(
        {"cat": "Node", "name": f"{name}_kernel_time", "dur": durations[run],
         "args": {"op_name": op, "node_index": str(index), "provider": provider}}
        for run in range(2)
        for name, op, index, provider, durations in [
            ("fc1/MatMul", "MatMul", 0, CUDA, (93136, 90)),
            ("relu", "Relu", 1, CUDA, (2265, 15)),
            ("Memcpy_token_2", "MemcpyToHost", 15, CUDA, (93, 11)),
            ("sinh", "Sinh", 2, CPU, (54, 8)),
            ("Memcpy", "MemcpyFromHost", 12, CUDA, (15, 9)),
            ("norm", "LpNormalization", 3, CUDA, (654, 13)),
            ("Memcpy_token_3", "MemcpyToHost", 16, CUDA, (37, 9)),
            ("hardmax", "Hardmax", 4, CPU, (14, 7)),
            ("Memcpy_token_0", "MemcpyFromHost", 13, CUDA, (19, 9)),
            ("add", "Add", 5, CUDA, (29, 16)),
            ("fc2/MatMul", "MatMul", 6, CUDA, (129, 39)),
            ("Memcpy_token_4", "MemcpyToHost", 17, CUDA, (17, 9)),
            ("shape", "Shape", 7, CUDA, (8, 5)),
            ("unique", "Unique", 11, CPU, (26, 16)),
            ("cast", "Cast", 8, CPU, (8, 23)),
            ("least", "ReduceMin", 9, CPU, (24, 7)),
            ("Memcpy_token_1", "MemcpyFromHost", 14, CUDA, (12, 8)),
            ("scale", "Mul", 10, CUDA, (83, 17)),
        ]
    ),
]  # fmt: skip
"""Two runs; the first of a kernel loads it onto the device."""

TENSORRT_RECORD = [
    Part(TENSORRT, (Node("", "Conv", "conv1/Conv"), Node("", "Relu", "relu"), Node("", "Gemm", "fc1/Gemm"))),
    *alone(CUDA, ("", "NonMaxSuppression", "nms")),
]

OPENVINO_PROFILE: list[dict[str, Any]] = [
    {"cat": "Session", "name": "session_initialization", "dur": 60651, "args": {}},
    *(
        {"cat": "Node", "name": "OpenVINOExecutionProvider_OpenVINOExecutionProvider_1020_0_0_kernel_time", "dur": dur,
         "args": {"node_index": "3", "op_name": "OpenVINOExecutionProvider_1020_0",
                  "provider": "OpenVINOExecutionProvider"}}
        for dur in (10925, 142, 203)
    ),
]  # fmt: skip

QNN_LOG = """\
\x1b[1;31m2026-11-25 22:58:49.809 [E:onnxruntime:, qnn_execution_provider.cc:2290 GetCapabilityImpl] QNN SetupBackend failed Unable to load backend, error:  libQnnCpu.so: cannot open shared object file: No such file or directory\x1b[m
\x1b[1;31m2026-11-25 22:58:49.809 [E:onnxruntime:, ep_plugin_provider_interfaces.cc:279 GetCapability] OrtEp::GetCapability() for QNNExecutionProvider failed with error: [ONNXRuntimeError] : 11 : EP_FAIL : QNN SetupBackend failed Unable to load backend, error:  libQnnCpu.so: cannot open shared object file: No such file or directory\x1b[m
"""  # noqa: E501
