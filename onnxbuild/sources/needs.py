"""What each source framework needs installed, and what decides its results; imports none of them.

Planning and deciding read this table; the modules of the kinds, with numpy and all, are imported where stages run.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnxbuild.recipe.types import Framework


@dataclass(frozen=True)
class Needs:
    """The `packages`, `preload` and `extra` of a SourceKind; `reference` are the packages its own outputs come from."""

    packages: tuple[str, ...]
    reference: tuple[str, ...]
    preload: tuple[str, ...]
    extra: str


NEEDS: dict[Framework, Needs] = {
    Framework.TORCH: Needs(
        ("torch", "onnxscript", "onnx-ir", "onnx", "numpy", "protobuf", "safetensors"),
        ("torch", "numpy", "safetensors", "ml-dtypes"),
        ("torch", "torch.onnx._internal.exporter._core", "onnxscript"),
        "torch",
    ),
    Framework.TENSORFLOW: Needs(
        ("tensorflow", "keras", "tf2onnx", "onnx", "protobuf"),
        ("tensorflow", "keras", "numpy", "ml-dtypes"),
        ("onnxbuild.sources.tensorflow_runtime", "tensorflow", "keras", "tf2onnx.tfonnx"),
        "tensorflow",
    ),
    Framework.KERAS: Needs(
        ("tensorflow", "keras", "h5py", "tf2onnx", "onnx", "protobuf"),
        ("tensorflow", "keras", "h5py", "numpy", "ml-dtypes"),
        ("onnxbuild.sources.tensorflow_runtime", "tensorflow", "keras", "tf2onnx.tfonnx"),
        "tensorflow",
    ),
    Framework.TFLITE: Needs(
        ("ai-edge-litert", "tensorflow", "tf2onnx", "onnx", "protobuf"),
        ("ai-edge-litert", "numpy", "ml-dtypes"),
        (
            "onnxbuild.sources.tensorflow_runtime",
            "ai_edge_litert.interpreter",
            "tensorflow",
            "tf2onnx.tfonnx",
        ),
        "tensorflow",
    ),
    Framework.SKLEARN: Needs(
        (
            "scikit-learn",
            "skl2onnx",
            "onnxmltools",
            "onnx",
            "onnx-ir",
            "numpy",
            "scipy",
            "pandas",
            "skops",
            "joblib",
            "protobuf",
        ),
        ("scikit-learn", "numpy", "scipy", "pandas", "skops", "joblib", "ml-dtypes"),
        ("sklearn", "pandas", "skl2onnx"),
        "sklearn",
    ),
    Framework.ONNX: Needs(
        ("onnx", "onnx-ir", "onnxscript", "numpy", "protobuf", "onnxruntime"),
        ("onnx", "onnxruntime", "numpy", "protobuf", "ml-dtypes"),
        ("numpy", "onnx", "onnx_ir", "onnxruntime.quantization", "onnxscript.optimizer"),
        "",
    ),
}
