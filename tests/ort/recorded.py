"""Assignment records, profiles and logs in the shape ONNX Runtime gives them.

Written by hand after the shapes of onnxruntime 1.31.1: the CUDA ones, for no machine with a GPU was at hand (its log
lines are the texts in the provider's library). OPENVINO_PROFILE and QNN_LOG were recorded.
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
        ("", "Conv", "conv1/Conv"),
        ("", "Relu", "relu"),
        ("com.microsoft", "FusedMatMul", "attn/MatMul"),
        ("", "Gemm", "fc1/Gemm"),
    ),
    *alone(CPU, ("", "Unique", "ids/Unique"), ("", "Shape", "ids/Shape"), ("", "Tokenize", "text/Tokenize")),
]
CUDA_LOG = """\
2026-11-25 10:00:00.1 [I:onnxruntime:, cuda_execution_provider.cc:2812 GetCapability] CUDA kernel not found in registries for Op type: Unique node name: ids/Unique
2026-11-25 10:00:00.2 [I:onnxruntime:, fallback_cpu_capability.cc:185 operator()] ORT optimization- Force fallback to CPU execution for node: ids/Shape because the CPU execution path is deemed faster than overhead involved with execution on other EPs capable of executing this node
"""  # noqa: E501
CUDA_PROFILE: list[dict[str, Any]] = [
    {"cat": "Session", "name": "model_run", "dur": 900, "args": {}},
    *(
        {"cat": "Node", "name": f"{name}_kernel_time", "dur": dur,
         "args": {"op_name": op, "node_index": str(index), "provider": provider}}
        for _ in range(2)
        for index, (name, op, dur, provider) in enumerate([
            ("conv1/Conv", "FusedConv", 300, CUDA),
            ("Memcpy_token_1", "MemcpyFromHost", 50, CUDA),
            ("fc1/Gemm", "Gemm", 100, CUDA),
            ("Memcpy_token_2", "MemcpyToHost", 25, CUDA),
            ("ids/Unique", "Unique", 25, CPU),
        ])
    ),
    {"cat": "Node", "name": "conv1/Conv_fence_before", "dur": 3, "args": {"op_name": "Conv"}},
]  # fmt: skip
"""Two runs of five kernels."""

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
