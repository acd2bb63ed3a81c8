"""Graph tools that take a model and give one back, one file a tool; nothing here compares or writes the result."""

from onnxbuild.ir.passes import custom, onnxoptimizer, onnxscript, onnxslim

__all__ = ["custom", "onnxoptimizer", "onnxscript", "onnxslim"]
