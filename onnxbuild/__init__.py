"""onnxbuild: a declarative, incremental build system for ONNX models; this module knows only the version."""

__version__ = "0.1.0"
