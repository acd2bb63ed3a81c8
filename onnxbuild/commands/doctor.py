"""`onnxbuild doctor`: versions, missing extras and what is wrong with the installation."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys

from onnxbuild import __version__
from onnxbuild.base.codec import encode
from onnxbuild.console import Console
from onnxbuild.engine.host import describe_host

EXAMPLES = """\
examples:
  onnxbuild doctor                     what is installed, what is missing, and the command that installs it
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
    problems = list(_problems(versions))
    if arguments.format == "json":
        content = {"onnxbuild": __version__, "host": describe_host(), "versions": versions, "problems": problems}
        console.print(encode(content).decode())
        return 1 if problems else 0
    host = describe_host()
    console.print(f"onnxbuild {__version__}, Python {host.python} on {host.system} {host.machine}")
    console.print(f"{host.cpu}, {host.cores} cores; {host.instructions or host.machine}")
    _print_versions(console, "base", BASE, versions)
    for extra, members in EXTRAS.items():
        missing = _missing(members, versions)
        _print_versions(console, extra, members, versions)
        if missing:
            console.print(f"  missing: {', '.join(missing)}; to get them: pip install 'onnxbuild[{extra}]'")
    for problem in problems:
        console.print(f"problem: {problem}")
    if not problems:
        console.print("No problem found.")
    return 1 if problems else 0


def _print_versions(console: Console, title: str, names: tuple[str, ...], versions: dict[str, str | None]) -> None:
    found = ", ".join(f"{name} {versions[name]}" for name in names if versions[name] is not None)
    console.print(f"{title}: {found or 'not installed'}")


def _problems(versions: dict[str, str | None]) -> list[str]:
    problems = []
    if versions["onnxruntime"] is not None and versions["onnxruntime-gpu"] is not None:
        problems.append(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other; "
            "run: pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxbuild"
        )
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
