"""The execution provider that a session gets against the one that was asked for; knows no model."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Callable, Mapping

import onnxruntime as ort

from onnxbuild.runtime.errors import ProviderError

CPU = "CPUExecutionProvider"
DEVICE_TYPE = "device_type"
"""The setting that names one of a plug-in's devices."""
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


PLUGINS: dict[str, tuple[str, tuple[str, ...]]] = {
    "openvino": ("onnxruntime_ep_openvino", ("CPU",)),
    "qnn": ("onnxruntime_qnn", ("NPU", "GPU", "CPU")),
    "webgpu": ("onnxruntime_ep_webgpu", ("GPU",)),
    "nv-tensorrt-rtx": ("onnxruntime_ep_nv_tensorrt_rtx", ("GPU",)),
}
"""Providers in libraries of their own: the module that knows where it is, and the kinds of device, best first."""
NVIDIA = ("cuda", "tensorrt")
"""Providers whose libraries, where they came as Python packages, only ONNX Runtime knows where to find."""
THEN = {"tensorrt": ["CUDAExecutionProvider"]}
"""Providers that take what one does not, before the CPU."""

SIMULATORS: dict[str, tuple[str, tuple[str, ...], dict[str, str], tuple[str, ...]]] = {
    "qnn": ("CPU", ("x86_64", "AMD64"), {"backend_type": "htp"}, ("backend_type", "backend_path")),
}
"""What a plug-in brings for machines without its device: the kind of device that it runs on and of which machines, the
settings that choose it, and those that say otherwise."""


def short_name(provider: str) -> str:
    """Return the short name of a provider that may be given by ONNX Runtime's own."""
    return next((short for short, name in PROVIDERS.items() if name == provider), provider)


def open_session(
    model: str,
    options: Callable[[str], ort.SessionOptions],
    provider: str,
    settings: Mapping[str, str],
    *,
    fallback: str | None = None,
) -> ort.InferenceSession:
    """Open a model on a provider with the provider's own `settings`; the CPU takes the nodes that it cannot.

    `options` makes new ones for a model: a plug-in's devices are added to those that it is opened with.
    Raises ProviderError where it is not there, or is there and would not compute, unless `fallback` names the model
    that the CPU then opens.
    """
    try:
        session = _open(model, options(model), provider, settings)
        check_provider(session, provider)
        session.disable_fallback()  # it would go to the CPU in the middle of a call too
    except Exception:  # ONNX Runtime raises a dozen unrelated types
        if fallback is None:
            raise
        session = ort.InferenceSession(fallback, options(fallback), providers=[CPU])
    return session


def _open(model: str, options: ort.SessionOptions, provider: str, settings: Mapping[str, str]) -> ort.InferenceSession:
    """Open without mending anything: with its fall-back ONNX Runtime would answer an error by opening on the CPU."""
    if provider in PLUGINS:
        devices = _plugin_devices(provider, settings.get(DEVICE_TYPE))
        options.add_provider_for_devices(devices[:1], _plugin_settings(provider, devices[0], settings))
        return ort.InferenceSession(model, options, enable_fallback=0)
    wanted = _built_in(provider)
    if provider in NVIDIA:
        ort.preload_dlls()
    behind = [name for name in (*THEN.get(provider, ()), CPU) if name != wanted]
    asked = [(wanted, dict(settings)), *behind]
    return ort.InferenceSession(model, options, providers=asked, enable_fallback=0)


def _built_in(provider: str) -> str:
    wanted = PROVIDERS.get(provider, provider)
    available = ort.get_available_providers()
    if wanted in available:
        return wanted
    known = ", ".join(short for short, name in PROVIDERS.items() if name in available)
    raise ProviderError(f"this ONNX Runtime has no provider '{provider}', only {known}; {HINT}")


def _plugin_devices(provider: str, kind: str | None) -> list[ort.OrtEpDevice]:
    """Return the plug-in's devices, best first, after registering its library."""
    module, kinds = PLUGINS[provider]
    try:
        library = importlib.import_module(module).get_library_path()
    except ModuleNotFoundError:
        raise ProviderError(f"'{provider}' needs the package {module.replace('_', '-')}; {HINT}") from None
    except (ImportError, AttributeError, FileNotFoundError) as error:
        raise ProviderError(f"'{provider}' does not load: {error}; {HINT}") from error
    name = PROVIDERS[provider]
    if not any(device.ep_name == name for device in ort.get_ep_devices()):
        try:
            ort.register_execution_provider_library(name, library)
        except Exception as error:  # ONNX Runtime raises a dozen unrelated types
            if "already registered" not in str(error):  # as where it was and offers no device
                raise ProviderError(f"'{provider}' does not load: {error}; {HINT}") from error
    offered = [device for device in ort.get_ep_devices() if device.ep_name == name]
    wanted = (kind,) if kind is not None else kinds
    chosen = [device for each in wanted for device in offered if device.device.type.name == each]
    if not chosen:
        raise ProviderError(f"'{provider}' offers no {' or '.join(wanted)} on this machine; {HINT}")
    return chosen


def _plugin_settings(provider: str, device: ort.OrtEpDevice, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that go to the plug-in; where its simulator stands for its device, those that choose it."""
    own = {name: value for name, value in settings.items() if name != DEVICE_TYPE}
    kind, machines, chosen, instead = SIMULATORS.get(provider, ("", (), {}, ()))
    if device.device.type.name == kind and platform.machine() in machines and not own.keys() & {*instead}:
        return {**own, **chosen}
    return own


def check_provider(session: ort.InferenceSession, provider: str) -> None:
    """Raise ProviderError when the session came to compute on another provider: ONNX Runtime itself says nothing."""
    wanted, got = PROVIDERS.get(provider, provider), session.get_providers()
    if got[0] != wanted:
        raise ProviderError(
            f"asked for '{provider}' and got {', '.join(got)}: the device or its libraries are missing; {HINT}"
        )


HINT = "load(..., allow_fallback=True) computes on the CPU instead"
