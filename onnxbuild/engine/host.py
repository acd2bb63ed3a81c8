"""This machine as a trace records it, and what user code may see of its environment."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from onnxbuild.stamp import cores, processor
from onnxbuild.store.traces import Host

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "KAGGLE_OFFLINE": "1",
}
"""Switches that keep model hubs from downloading: nothing is fetched at run time."""

FIXED = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "KERAS_BACKEND": "tensorflow",
    "CUDA_VISIBLE_DEVICES": "",
}
"""Settings that make results repeatable: export and reference run on the CPU."""

HIDING = "CUDA_VISIBLE_DEVICES"

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "LOKY_MAX_CPU_COUNT": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}
"""A stage computes on one thread wherever the recipe does not say otherwise: `-j` then counts cores, and no sum comes
out otherwise because more actions ran beside it (OpenBLAS's products differ in the last bits by threads)."""

_INHERITED = ("PATH", "HOME", "LANG", "LANGUAGE")
_FOR_WORKERS = ("LD_LIBRARY_PATH", "PYTHONPATH")
"""What it takes to start and to find libraries; user code, whose process has started, sees none of it."""


def worker_environment(hash_seed: int = 0) -> dict[str, str]:
    """Return the environment that workers start with; it makes this very package importable."""
    inherited = {**_inherited(), **{name: os.environ[name] for name in _FOR_WORKERS if name in os.environ}}
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, inherited.get("PYTHONPATH")]))
    return {**inherited, **OFFLINE, **FIXED, **ONE_THREAD, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": path}


def user_environment(declared: Iterable[str], hash_seed: int = 0, *, devices: bool = False) -> dict[str, str]:
    """Return the environment that user code sees: the usual few and those that the recipe declares under `env`.

    `devices`: GPUs are not hidden, beyond what the caller's own environment hides.
    """
    shown = {
        **_inherited(),
        **OFFLINE,
        **FIXED,
        **ONE_THREAD,
        "PYTHONHASHSEED": str(hash_seed),
        **{name: os.environ[name] for name in declared if name in os.environ},
    }
    if devices:
        del shown[HIDING]
        shown |= {HIDING: os.environ[HIDING]} if HIDING in os.environ else {}
    return shown


def _inherited() -> dict[str, str]:
    """Return PATH, HOME and the locale."""
    return {n: value for n, value in os.environ.items() if n in _INHERITED or n.startswith("LC_")}


def declared_values(declared: Iterable[str]) -> Mapping[str, str | None]:
    """Return the values of declared variables as they enter the key; None is unset."""
    return {name: os.environ.get(name) for name in declared}


def describe_host() -> Host:
    """Return this machine's description."""
    model, instructions = processor()
    return Host(
        system=platform.system(),
        machine=platform.machine(),
        cpu=model or _brand() or platform.processor() or "unknown",
        cores=cores(),
        python=platform.python_version(),
        instructions=instructions,
    )


def physical_memory() -> int:
    """Return the bytes of this machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _brand() -> str:
    """Return the CPU's name where sysctl tells it (macOS); it settles which instruction sets there are."""
    try:
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
