"""Every provider of the table loaded for real, each in a process with a time limit; imports no runtime itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from onnxbuild.base.codec import decode
from onnxbuild.ort.probe import Probe
from onnxbuild.recipe.providers import TABLE
from onnxbuild.stamp import cores

SECONDS = 60.0
MODULE = "onnxbuild.ort.probe"


def probe_all(names: Iterable[str] = tuple(TABLE), seconds: float = SECONDS, module: str = MODULE) -> list[Probe]:
    """Return what became of each provider, in the order asked."""
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(lambda name: _probe(name, seconds, module), names))


def _probe(name: str, seconds: float, module: str) -> Probe:
    command = [sys.executable, "-m", module, name]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return Probe(provider=name, present=False, why=f"it did not answer within {seconds:g} s")
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        crash = f"a crash (signal {-done.returncode})" if done.returncode < 0 else last[0]
        return Probe(provider=name, present=False, why=f"loading it ended in {crash}")
    try:
        return decode(done.stdout, Probe)
    except msgspec.DecodeError:  # a library may end the process as if all was well
        return Probe(provider=name, present=False, why="loading it ended the process without a word")
