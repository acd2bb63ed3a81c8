"""`onnxbuild doctor`: versions, providers loaded for real, missing extras, what is wrong with the installation."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys
from pathlib import Path
from typing import Any

from onnxbuild import __version__
from onnxbuild.base.codec import encode
from onnxbuild.commands.probing import probe_all
from onnxbuild.console import Console
from onnxbuild.engine.host import describe_host
from onnxbuild.ort.facts import simulator_of
from onnxbuild.ort.probe import Probe
from onnxbuild.recipe.providers import TABLE

EXAMPLES = """\
examples:
  onnxbuild doctor                     what is installed, which providers run, what is missing and how to get it
  onnxbuild doctor --format json       for a bug report
"""

BASE = (
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxruntime-gpu",
    "onnxruntime",
    "onnxoptimizer",
    "onnxslim",
    "protobuf",
    "numpy",
)
EXTRAS = {
    "torch": ("torch",),
    "tensorflow": ("tensorflow-cpu", "tensorflow", "keras", "tf2onnx"),
    "sklearn": ("scikit-learn", "skl2onnx", "onnxmltools", "pandas", "pyarrow", "skops"),
    "openvino": ("onnxruntime-ep-openvino",),
}
EITHER = ({"onnxruntime-gpu", "onnxruntime"}, {"tensorflow-cpu", "tensorflow"})
"""Distributions of which one is enough, because they deliver the same import package."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how to print it")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print what is installed and return 0, or 1 when the installation cannot work."""
    names = (*BASE, *(name for extra in EXTRAS.values() for name in extra))
    versions = {name: _version(name) for name in names}
    probes = probe_all()
    problems = [*_problems(versions), *_runtime_problems()]
    problems += [_without_cpu(versions, probe) for probe in probes if probe.provider == "cpu" and not probe.present]
    if arguments.format == "json":
        content = {
            "onnxbuild": __version__,
            "host": describe_host(),
            "versions": versions,
            "extras": {extra: _extra(extra, versions) for extra in EXTRAS},
            "providers": {probe.provider: _told(probe) for probe in probes},
            "problems": problems,
        }
        console.print(encode(content).decode())
        return 1 if problems else 0
    host = describe_host()
    console.print(f"onnxbuild {__version__}, Python {host.python} on {host.system} {host.machine}")
    console.print(f"{host.cpu}, {host.cores} cores; {host.instructions or host.machine}")
    _print_versions(console, "base", BASE, versions)
    for extra, members in EXTRAS.items():
        _print_versions(console, extra, members, versions)
        lacks = _extra(extra, versions)
        if lacks["missing"]:
            console.print(f"  missing: {', '.join(lacks['missing'])}; to get them: {lacks['get']}")
    console.print("providers:")
    for probe in probes:
        console.print(f"  {probe.provider:<16} {_describe(probe)}")
    for problem in problems:
        console.print(f"problem: {problem}")
    if not problems:
        console.print("No problem found.")
    return 1 if problems else 0


def _extra(extra: str, versions: dict[str, str | None]) -> dict[str, Any]:
    """Return what of an extra is missing, and the command that gets it."""
    return {"missing": _missing(EXTRAS[extra], versions), "get": f"pip install 'onnxbuild[{extra}]'"}


def _told(probe: Probe) -> dict[str, object]:
    entry = TABLE[probe.provider]
    return {
        "name": entry.full_name,
        "present": probe.present,
        "devices": probe.devices,
        "why": probe.why,
        "needs": entry.needs,
        "get": entry.get,
    }


def _describe(probe: Probe) -> str:
    if probe.present:
        devices = "; ".join(f"{d.kind} {d.name or d.vendor}, {d.library}".rstrip(", ") for d in probe.devices)
        doubt = (
            "; there is no device, so what is measured on it stays unverified" if simulator_of(probe.devices) else ""
        )
        return f"runs a model{': ' + devices if devices else ''}{doubt}"
    entry = TABLE[probe.provider]
    parts = [f"not here: {probe.why}"]
    if entry.needs not in parts[0]:
        parts.append(f"it needs {entry.needs}")
    is_there = entry.plugin is not None and _version(entry.plugin.package) is not None
    if entry.get is not None and "to get it" not in parts[0] and not is_there:
        parts.append(f"to get it: {entry.get}")
    return "; ".join(parts)


def _runtime_problems() -> list[str]:
    """Return what is wrong with ONNX Runtime's own files: two copies that overwrite each other, or what one left."""
    owners = sorted(set(importlib.metadata.packages_distributions().get("onnxruntime", ())))
    if len(owners) > 1:
        listed, all_of = " and ".join(owners), " ".join(owners)
        return [
            f"{listed} are installed together and overwrite each other; "
            f"run: pip uninstall -y {all_of} && pip install onnxbuild"
        ]
    altered = [file for owner in owners for file in _altered(owner)]
    if altered:
        return [
            f"{altered[0]} is not the file that {owners[0]} installed, as after the removal of another copy; "
            f"run: pip install --force-reinstall --no-deps {owners[0]}"
        ]
    return []


def _without_cpu(versions: dict[str, str | None], cpu: Probe) -> str:
    runtime = next((name for name in ("onnxruntime-gpu", "onnxruntime") if versions[name] is not None), "onnxruntime")
    return f"ONNX Runtime runs no model: {cpu.why}; run: pip install --force-reinstall --no-deps {runtime}"


def _altered(distribution: str) -> list[str]:
    """Return the files of a distribution that are missing or of another size than it recorded."""
    return [
        str(file)
        for file in importlib.metadata.files(distribution) or ()
        if file.size is not None and _size(str(file.locate())) != file.size and file.suffix in (".so", ".py", ".pyd")
    ]


def _size(path: str) -> int | None:
    try:
        return Path(path).stat().st_size
    except OSError:
        return None


def _print_versions(console: Console, title: str, names: tuple[str, ...], versions: dict[str, str | None]) -> None:
    found = ", ".join(f"{name} {versions[name]}" for name in names if versions[name] is not None)
    console.print(f"{title}: {found or 'not installed'}")


def _problems(versions: dict[str, str | None]) -> list[str]:
    problems = []
    problems += [f"{name} is missing; run: pip install onnxbuild" for name in _missing(BASE, versions)]
    protobuf = versions["protobuf"]
    if protobuf is not None and not protobuf.startswith("6."):
        problems.append(
            f"protobuf {protobuf} breaks onnxoptimizer and skl2onnx, some silently; run: pip install 'protobuf>=6,<7'"
        )
    if sys.version_info >= (3, 14):
        problems.append(
            f"Python {platform.python_version()} is newer than what onnxbuild is tested with (3.11 to 3.13)"
        )
    return problems


def _missing(names: tuple[str, ...], versions: dict[str, str | None]) -> list[str]:
    missing = [name for name in names if versions[name] is None]
    for either in EITHER:
        if any(versions[name] is not None for name in either if name in versions):
            missing = [name for name in missing if name not in either]
    return missing


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
