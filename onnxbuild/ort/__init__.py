"""ONNX Runtime: sessions, its optimiser and its quantisers; the only package that imports onnxruntime."""
