"""ONNX Runtime's session options for the configuration that a manifest records: what a target was measured with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnxruntime as ort

PREPACKING_LIMIT = 1_000_000_000
"""Bytes of a model above which its weights are not copied into the kernels' own layout."""
LEVELS = {
    "disable": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def session_options(session: Mapping[str, Any], size: int = 0, *, low_memory: bool = False) -> ort.SessionOptions:
    """Return the options for `session`, a manifest's own, and a model of `size` bytes.

    `low_memory` gives up speed for memory, whatever was measured: no arena, no memory pattern, no prepacking.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = session.get("intra_op_threads", 1)
    if "graph_optimization" in session:
        options.graph_optimization_level = LEVELS[session["graph_optimization"]]
    if "memory_pattern" in session:
        options.enable_mem_pattern = session["memory_pattern"]
    if "cpu_arena" in session:
        options.enable_cpu_mem_arena = session["cpu_arena"]
    if low_memory:
        options.enable_mem_pattern = options.enable_cpu_mem_arena = False
    if low_memory or size > PREPACKING_LIMIT:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options
