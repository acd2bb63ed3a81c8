"""The execution provider that a session gets against the one that was asked for; knows no model."""

from __future__ import annotations

import onnxruntime as ort

from onnxbuild.runtime.errors import ProviderError

CPU = "CPUExecutionProvider"
PROVIDERS = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "nv-tensorrt-rtx": "NvTensorRTRTXExecutionProvider",
}
"""Short name to ONNX Runtime's name."""


def choose_providers(provider: str, *, allow_fallback: bool) -> list[str]:
    """Return what to ask ONNX Runtime for: the CPU takes the nodes that a provider cannot. Raises ProviderError."""
    wanted = PROVIDERS.get(provider, provider)
    available = ort.get_available_providers()
    if wanted in available:
        return [wanted] if wanted == CPU else [wanted, CPU]
    if allow_fallback:
        return [CPU]
    known = ", ".join(short for short, name in PROVIDERS.items() if name in available)
    raise ProviderError(f"this ONNX Runtime has no provider '{provider}', only {known}; {_HINT}")


def check_provider(session: ort.InferenceSession, provider: str) -> None:
    """Raise ProviderError when the session came to compute on another provider: ONNX Runtime itself says nothing."""
    wanted, got = PROVIDERS.get(provider, provider), session.get_providers()
    if got[0] != wanted:
        raise ProviderError(
            f"asked for '{provider}' and got {', '.join(got)}: the device or its libraries are missing; {_HINT}"
        )


_HINT = "load(..., allow_fallback=True) computes on the CPU instead"
