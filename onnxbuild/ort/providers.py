"""Opens a session on an execution provider and says what it got, or why there is none; never falls back by itself."""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import onnxruntime as ort

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ort.facts import Device
from onnxbuild.ort.session import options_for, session_options
from onnxbuild.recipe.providers import TABLE, Plugin, ProviderEntry, Simulator
from onnxbuild.recipe.types import Session
from onnxbuild.stamp import nvidia_gpus

CPU = "CPUExecutionProvider"
DEVICE_TYPE = "device_type"
"""The option that names one of a plug-in's devices; ours, since plug-ins leave the choice to who opens the session."""

VERBOSE = 0
_KINDS = {
    ort.OrtHardwareDeviceType.CPU: "CPU",
    ort.OrtHardwareDeviceType.GPU: "GPU",
    ort.OrtHardwareDeviceType.NPU: "NPU",
}
_MAKERS = {0x1002: "AMD", 0x10DE: "NVIDIA", 0x8086: "Intel"}
"""By PCI vendor id, which is all that ONNX Runtime tells of a GPU on Linux."""


@dataclass(frozen=True)
class Absent:
    """There is no such provider here, and why."""

    why: str


@dataclass
class Log:
    """What the runtime wrote to standard error, once it is over."""

    text: str = ""


@dataclass(frozen=True)
class Opened:
    """A session that has the provider that was asked for; `devices` are those it offers here."""

    session: ort.InferenceSession
    devices: tuple[Device, ...]
    log: str = field(default="", repr=False)


def open_on(
    model: Path | bytes,
    provider: str,
    options: Mapping[str, str],
    session: Session = Session(),
    *,
    settings: Mapping[str, str] = {},
    profile: Path | None = None,
    verbose: bool = False,
) -> Opened | Absent:
    """Open the model on the provider of this short name.

    `settings` are entries of the session's configuration, `profile` a prefix for a profile file, `verbose` keeps all
    that the runtime says. Raises StageFailure (`provider-refuses`) when the provider is there and does not take the
    model or an option: then a trivial model opens on it and this one does not.
    """
    entry = TABLE[provider]
    opened = _open(model, entry, options, session, settings, profile, verbose)
    return absent_or_refusing(entry, options, opened) if isinstance(opened, Exception) else opened


def absent_or_refusing(entry: ProviderEntry, options: Mapping[str, str], error: Exception) -> Absent:
    """Return why there is no such provider here, when `error` came of that; `open_on` tells how to know.

    Raises StageFailure (`provider-refuses`) when it is there.
    """
    device = {name: value for name, value in options.items() if name == DEVICE_TYPE}
    with_options = _open(_trivial_model(), entry, options, Session(), {}, None, False)
    plain = _open(_trivial_model(), entry, device, Session(), {}, None, False)
    what = "the model" if isinstance(with_options, Opened) else "its options"
    if isinstance(with_options, Opened) or isinstance(plain, Opened):
        message = f"{entry.full_name} is there and refuses {what}: {_first_lines(str(error))}"
        raise StageFailure("provider-refuses", message, tool=entry.full_name)
    return with_options if isinstance(with_options, Absent) else Absent(_reason(str(with_options)))


def present(provider: str) -> tuple[Device, ...] | Absent:
    """Return the provider's devices after running a trivial model on it, or why there are none."""
    opened = _open(_trivial_model(), TABLE[provider], {}, Session(), {}, None, False)
    if isinstance(opened, Exception):
        return Absent(_reason(str(opened)))
    if isinstance(opened, Opened):
        try:
            opened.session.run(None, {"x": [1.0]})
        except Exception as error:  # ONNX Runtime raises a dozen unrelated types
            return Absent(_reason(str(error)))
        return opened.devices
    return opened


def _open(
    model: Path | bytes,
    entry: ProviderEntry,
    options: Mapping[str, str],
    session: Session,
    settings: Mapping[str, str],
    profile: Path | None,
    verbose: bool,
) -> Opened | Absent | Exception:
    """Open without a second thought: what ONNX Runtime raises is returned."""
    own = session_options(session) if isinstance(model, bytes) else options_for(model, session)
    for name, value in settings.items():
        own.add_session_config_entry(name, value)
    if verbose:
        own.log_severity_level = VERBOSE
    if profile is not None:
        own.enable_profiling = True
        own.profile_file_prefix = str(profile)
    source = model if isinstance(model, bytes) else str(model)
    with heard() as log:
        try:
            if entry.plugin is not None:
                absent = add_plugin(own, entry, entry.plugin, options)
                if absent is not None:
                    return absent
                # Without enable_fallback=0 the constructor mends an error by opening on the CPU instead.
                made = ort.InferenceSession(source, own, enable_fallback=0)
            else:
                if entry.full_name not in ort.get_available_providers():
                    return Absent(f"this build of ONNX Runtime ({ort.__version__}) has no {entry.full_name}")
                _preload(entry)
                asked = [(entry.full_name, dict(options)), *entry.then, *([CPU] if entry.full_name != CPU else [])]
                made = ort.InferenceSession(source, own, providers=asked, enable_fallback=0)
        except Exception as error:  # ONNX Runtime raises a dozen unrelated types
            return error
    if entry.full_name not in made.get_providers():
        return Absent(_reason(log.text))
    made.disable_fallback()
    return Opened(made, devices_of(entry), log.text)


def devices_of(entry: ProviderEntry) -> tuple[Device, ...]:
    """Return the devices that the runtime lists for a provider, or its driver where a built-in one lists none."""
    listed = tuple(_device(device, entry) for device in ort.get_ep_devices() if device.ep_name == entry.full_name)
    gpus = nvidia_gpus() if not listed and "nvidia-cublas" in entry.packages else ()
    return listed or tuple(Device(kind="GPU", vendor="NVIDIA", name=name) for name in gpus)


def _device(device: ort.OrtEpDevice, entry: ProviderEntry) -> Device:
    simulator = _simulator(device, entry.plugin)
    name = device.ep_metadata.get("FULL_DEVICE_NAME", device.device.metadata.get("Description", ""))
    return Device(
        kind=_KINDS.get(device.device.type, "other"),
        vendor=device.device.vendor or _MAKERS.get(device.device.vendor_id, ""),
        name=name if simulator is None else simulator.name,
        library=device.ep_metadata.get("version", ""),
        simulated=simulator is not None,
    )


def _simulator(device: ort.OrtEpDevice, plugin: Plugin | None) -> Simulator | None:
    """Return what stands for a plug-in's own device on this one, or None where this is one."""
    found = plugin.simulator if plugin is not None else None
    is_it = found is not None and _KINDS.get(device.device.type) == found.kind and platform.machine() in found.machines
    return found if is_it else None


def add_plugin(
    own: ort.SessionOptions, entry: ProviderEntry, plugin: Plugin, options: Mapping[str, str]
) -> Absent | None:
    """Add the plug-in's best device and its options to a session's options, or return why there is none."""
    chosen = _choose(entry, plugin, options)
    if isinstance(chosen, Absent):
        return chosen
    simulator = _simulator(chosen[0], plugin)
    settings = {name: value for name, value in options.items() if name != DEVICE_TYPE}
    if simulator is not None and not settings.keys() & {*simulator.instead}:
        settings |= simulator.options
    own.add_provider_for_devices(chosen[:1], settings)
    return None


def _choose(entry: ProviderEntry, plugin: Plugin, options: Mapping[str, str]) -> list[ort.OrtEpDevice] | Absent:
    """Return the devices that are asked for, best first, after registering the plug-in's library."""
    try:
        version = importlib.metadata.version(plugin.package)
    except importlib.metadata.PackageNotFoundError:
        return Absent(f"the package {plugin.package} is not installed; to get it: {entry.get}")
    try:
        library = importlib.import_module(plugin.module).get_library_path()
    except (ImportError, AttributeError, FileNotFoundError) as error:
        return _half_removed(plugin, version, str(error))
    if not any(device.ep_name == entry.full_name for device in ort.get_ep_devices()):
        try:
            ort.register_execution_provider_library(entry.full_name, library)
        except Exception as error:  # as above
            if not Path(library).is_file():
                return _half_removed(plugin, version, f"there is no {library}")
            if "already registered" not in str(error):
                return Absent(_reason(str(error)))
    wanted = (options[DEVICE_TYPE],) if DEVICE_TYPE in options else plugin.devices
    offered = [device for device in ort.get_ep_devices() if device.ep_name == entry.full_name]
    chosen = [device for kind in wanted for device in offered if _KINDS.get(device.device.type) == kind]
    if not chosen:
        kinds = " or ".join(wanted)
        return Absent(f"{plugin.package} {version} offers no {kinds} on this machine; it needs {entry.needs}")
    return chosen


def _half_removed(plugin: Plugin, version: str, what: str) -> Absent:
    mend = f"pip install --force-reinstall --no-deps {plugin.package}"
    return Absent(f"{plugin.package} {version} is installed, and files of it are missing: {what}; run: {mend}")


def _preload(entry: ProviderEntry) -> None:
    """Load CUDA, cuDNN and TensorRT from their Python packages, where those are installed."""
    if "nvidia-cublas" in entry.packages and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    found = importlib.util.find_spec("tensorrt_libs") if entry.name == "tensorrt" else None
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        for library in ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10"):
            if (Path(folder) / library).exists():
                ctypes.CDLL(str(Path(folder) / library), ctypes.RTLD_GLOBAL)


_MISSING = re.compile(r"([\w.+-]+\.(?:so[.0-9]*|dylib|dll)): cannot open shared object file")
_PREFIX = re.compile(r"^(?:.*?\[ONNXRuntimeError\] : \d+ : \w+ : |/\S+\.(?:cc|h):\d+ [^)]*\) )", re.S)


def _reason(text: str) -> str:
    """Return the reason in what the runtime logged or raised: a library that is missing, else its last words."""
    missing = _MISSING.search(text)
    if missing is not None:
        return f"its libraries do not load: {missing[1]} is missing"
    lines = [line for line in _first_lines(_PREFIX.sub("", text)).splitlines() if line.strip()]
    return lines[-1].strip().rstrip(".") if lines else "the session was opened without it, and nothing was said why"


def _first_lines(text: str, most: int = 12) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return "\n".join([line for line in plain.splitlines() if line.strip()][:most])


@contextmanager
def heard() -> Iterator[Log]:
    """Catch what native code writes to standard error; afterwards it is in the log, and written where it belongs."""
    log = Log()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield log
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            raw = file.read()
            log.text = raw.decode(errors="replace")
            with open(2, "wb", closefd=False) as stream:
                stream.write(raw)


def _trivial_model() -> bytes:
    """Return the smallest model that every provider can take."""
    import onnx
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"], "add")], "trivial", [x], [y])
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
