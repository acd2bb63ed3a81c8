"""The files that `onnxbuild init` writes."""
