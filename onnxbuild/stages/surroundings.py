"""The machine at the moment of a measurement: what to know before two of them are compared; measures nothing itself."""

from __future__ import annotations

import gc
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnxbuild.proof.timing import Surroundings
from onnxbuild.recipe.types import Session
from onnxbuild.stamp import cores, processor

_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def system_load() -> float | None:
    """Return how many processes wanted to run over the last minute, None where the system does not tell."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def describe_surroundings(session: Session, before: float | None) -> Surroundings:
    """Return this machine as it is now; `before` is the load when the measurement began."""
    threads = session.intra_op_threads
    try:
        governor = _GOVERNOR.read_text().strip()
    except OSError:
        governor = None
    return Surroundings(
        cpu=processor()[0] or platform.processor() or "unknown",
        cores=cores(),
        threads=1 if threads is None else threads or os.cpu_count() or 1,
        load_before=before,
        load_after=system_load(),
        governor=governor,
    )


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep Python's garbage collector out of what is timed."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
