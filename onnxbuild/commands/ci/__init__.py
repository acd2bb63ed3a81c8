"""Templates that `onnxbuild init --ci` writes."""
