"""The distributions that stages name in their keys; imports none of them."""

from __future__ import annotations

import platform
import sys

ONNXRUNTIME = "onnxruntime-gpu" if sys.platform == "linux" and platform.machine() == "x86_64" else "onnxruntime"
"""The distribution that carries the module `onnxruntime` here, as the project's dependencies choose it."""

MODEL = ("onnx", "onnx-ir", "protobuf")
"""What reading, canonicalising and writing a model uses."""
