"""ONNX Runtime's own graph optimisation, written back to a model; knows nothing of who compares the result."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from onnxbuild.base.foreign import foreign_tool
from onnxbuild.ort.session import LEVELS

TOOL = "onnxruntime"
WEIGHTS = "optimized.onnx.data"
EXTERNAL_FROM = 1024
"""Bytes from which a tensor goes to the external file."""


def optimize(file: Path, level: str, scratch: Path) -> Path:
    """Write what ONNX Runtime makes of the model in `file` at `level` (basic, extended or all) and return its path.

    The weights lie in a file beside it: without its own external file the result would go on pointing into the
    input's. It imports every domain that the runtime knows.
    """
    out = scratch / "optimized.onnx"
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = LEVELS[level]
    options.optimized_model_filepath = str(out)
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", str(EXTERNAL_FROM)
    )
    options.add_session_config_entry("session.disable_prepacking", "1")  # nothing runs here, and it costs memory
    with foreign_tool(TOOL, scratch):
        ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return out
