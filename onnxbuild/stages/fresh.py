"""A process of its own that opens a model and runs it: what that takes when nothing is there yet. Decides nothing.

The program reads its job's file, which the command line names, and writes what it measured as JSON.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from onnxbuild.base.codec import decode, encode
from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import Session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

PACKAGE = str(Path(__file__).resolve().parents[2])
"""Where this package is, on which the process's path is set."""
RUNS = 3
"""With the second run ONNX Runtime knows the memory pattern."""


class FreshJob(msgspec.Struct, frozen=True, kw_only=True):
    """The model's file, the folder of calls whose first is run, and how to open it: on a provider that is there."""

    model: str
    calls: str
    session: Session
    provider: str = "cpu"
    options: dict[str, str] = {}


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """Nanoseconds to open the model at first and of the first call, and the same again; `peak` is resident bytes."""

    cold: int
    first: int
    warm: int
    first_warm: int
    peak: int


def measure_fresh(job: FreshJob, scratch: Path) -> Footprint:
    """Start the process and return what it measured. Raises StageFailure (`benchmark-crashed`)."""
    with tempfile.NamedTemporaryFile(dir=scratch, prefix="fresh-", suffix=".json", delete=False) as file:
        file.write(encode(job))
    done = subprocess.run(
        [sys.executable, "-P", "-m", __name__, file.name],
        env={**os.environ, "PYTHONPATH": PACKAGE, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        message = f"a process of its own for the model ended with {done.returncode}: {said[-1] if said else 'no word'}"
        raise StageFailure("benchmark-crashed", message, tool="onnxruntime")
    return decode(done.stdout, Footprint)


def measure_peaks(jobs: Sequence[FreshJob], scratch: Path, at_once: int) -> list[int]:
    """Return the most resident bytes of a process for each job; `at_once` of them run together, so nothing is timed."""
    with ThreadPoolExecutor(at_once) as pool:
        return [found.peak for found in pool.map(lambda job: measure_fresh(job, scratch), jobs)]


def _measure(job: FreshJob) -> Footprint:
    from onnxbuild.data.calls import read_calls
    from onnxbuild.ort.session import run_call

    model = Path(job.model)
    call = {name: array.copy() for name, array in read_calls(Path(job.calls))[0].items()}
    _forget(model.parent)
    began = time.perf_counter_ns()
    session = _open(job)
    opened = time.perf_counter_ns()
    run_call(session, call)
    ran = time.perf_counter_ns()
    for _ in range(RUNS - 1):
        run_call(session, call)
    peak = _peak()
    del session
    again = time.perf_counter_ns()
    session = _open(job)
    reopened = time.perf_counter_ns()
    run_call(session, call)
    rerun = time.perf_counter_ns()
    return Footprint(
        cold=opened - began, first=ran - opened, warm=reopened - again, first_warm=rerun - reopened, peak=peak
    )


def _open(job: FreshJob) -> InferenceSession:
    if job.provider == "cpu":  # always there, and what opens others loads more than the runtime
        from onnxbuild.ort.session import open_session

        return open_session(Path(job.model), job.session)
    from onnxbuild.ort.providers import Absent, open_on

    opened = open_on(Path(job.model), job.provider, job.options, job.session)
    if isinstance(opened, Absent):
        sys.exit(f"there is no {job.provider} in a process of its own: {opened.why}")
    return opened.session


def _forget(folder: Path) -> None:
    """Ask the system to drop the files' pages from its cache."""
    if hasattr(os, "posix_fadvise"):
        for file in folder.iterdir():
            with file.open("rb") as stream:
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _peak() -> int:
    """Return the most bytes that were resident in this process since it began."""
    try:
        # Not getrusage, which begins with what the process that started this one held.
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    answer = os.dup(1)
    os.dup2(2, 1)  # what a provider's libraries print is no part of the answer
    os.write(answer, encode(_measure(decode(Path(sys.argv[1]).read_bytes(), FreshJob))))
