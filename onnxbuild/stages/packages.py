"""The distributions that stages name in their keys, and what their workers import beforehand; imports none of them."""

from __future__ import annotations

ONNXRUNTIME = "onnxruntime"
"""Stands for onnxruntime or onnxruntime-gpu, whichever is installed: the version counts, not the wheel."""

MODEL = ("onnx", "onnx-ir", "protobuf", "numpy", "ml-dtypes")
"""What reading, canonicalising and writing a model uses."""

PRELOAD = ("numpy", "onnx", "onnx_ir", "onnxruntime.quantization", "onnxscript.optimizer")
"""What the one worker for all stages without a framework imports before it forks."""
