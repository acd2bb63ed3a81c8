"""Models as graphs: reading, writing, canonical form, description; with ort/, all that imports onnx and onnx_ir."""
