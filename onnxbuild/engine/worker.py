"""The worker process: imports its framework once, then forks a fresh child for each job.

So no interpreter runs user code twice.
Reads job files' paths from standard input, one a line, and writes one JSON line when a child starts and one when it
ends. When its input closes, it kills the children that still run and leaves. It never runs a framework's operators:
a TensorFlow that has run anything hangs its forked children. What a child has imported of the packages that are there
it imports too, so that a kind of stage loads its code once and not in each of its actions; from a child that ran user
code it learns only of this package, for that code's imports are nobody else's. It does so when it gets its next job: a
worker that has none keeps still, for another's may measure.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

from onnxbuild.engine.child import Order, read_order, run_job
from onnxbuild.engine.packages import module_owners

LIBC = ctypes.CDLL(None)
"""The C library, opened before any fork: opening takes the loader's lock."""

OURS = frozenset({__package__.partition(".")[0]})
"""The package whose modules a child may tell of whatever it ran."""


def main(preload: Sequence[str], *, owners: bool) -> None:
    """Import `preload`, then serve until standard input closes; `owners` asks for the table of module owners."""
    channel = os.dup(1)
    os.dup2(2, 1)
    for name in preload:
        with contextlib.suppress(ImportError):  # the stage itself says which extra is missing
            importlib.import_module(name)
    table = module_owners() if owners else None
    gc.freeze()
    _serve(channel, table)


def _serve(channel: int, owners: Mapping[str, Sequence[str]] | None) -> None:
    wake_read, wake_write = _pipe()
    lessons = _pipe()
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    children: dict[int, str] = {}
    pending = b""
    while True:
        ready, _, _ = select.select([0, wake_read], [], [])
        if wake_read in ready:
            os.read(wake_read, 4096)
            _reap(channel, children)
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                _kill(children)
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                job = line.decode()
                _learn(lessons[0])
                children[_fork(job, owners, lessons[1], (channel, wake_read, wake_write, lessons[0]))] = job


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def _learn(lessons: int) -> None:
    """Import what children have imported, so that the next ones find it there."""
    with contextlib.suppress(BlockingIOError):
        for name in os.read(lessons, 1 << 16).decode().split():
            with contextlib.suppress(Exception):  # whoever needs it will say what is wrong
                importlib.import_module(name)
        gc.freeze()


def _teach(lessons: int, before: Set[str], packages: Set[str]) -> None:
    """Name the modules of `packages` that this child has imported since `before`."""
    names = b""
    for name in sys.modules:
        if name not in before and name.partition(".")[0] in packages and len(names) + len(name) < select.PIPE_BUF:
            names += name.encode() + b" "
    with contextlib.suppress(OSError):  # the pipe is full, which loses time only
        os.write(lessons, names)


def _fork(job: str, owners: Mapping[str, Sequence[str]] | None, lessons: int, ours: Sequence[int]) -> int:
    """Run a job in a child that has none of the descriptors `ours`, the first of which tells of it."""
    worker, before, order, pipe = os.getpid(), {*sys.modules}, read_order(Path(job)), os.fstat(lessons)
    pid = os.fork()
    if pid:
        _tell(ours[0], {"job": job, "pid": pid})
        return pid
    status = 1
    try:
        os.setsid()
        _die_with(worker)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in (0, *ours):
            os.close(descriptor)
        os.open(os.devnull, os.O_RDONLY)
        status = run_job(order, owners)
        if os.path.samestat(os.fstat(lessons), pipe):  # user code may have closed it, and opened a file of its own
            _teach(lessons, before, before if isinstance(order, Order) and not order.job.user_code else OURS)
    finally:
        with contextlib.suppress(Exception):  # a full disk takes no log; whatever happens, this is no second worker
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _reap(channel: int, children: dict[int, str]) -> None:
    while children:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return
        if ended.si_pid in children:
            _kill((ended.si_pid,))  # what its user code started and left running; its number is ours until we wait
        pid, status = os.waitpid(ended.si_pid, 0)
        job = children.pop(pid, None)
        if job is not None:
            _tell(channel, {"job": job, "exit": os.waitstatus_to_exitcode(status)})


def _tell(channel: int, message: dict[str, object]) -> None:
    os.write(channel, json.dumps(message).encode() + b"\n")


def _kill(children: Iterable[int]) -> None:
    for pid in children:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _die_with(worker: int) -> None:
    """Have the kernel kill this child when its worker dies, so that nobody's work goes on (Linux)."""
    if sys.platform == "linux":
        LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != worker:
        os._exit(1)


def run_once(job: str) -> None:
    """Run one job in this very process: the way where forking is not safe."""
    with contextlib.suppress(PermissionError):
        os.setsid()
    line = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    sys.exit(run_job(read_order(Path(job))))


def _end_with(line: int) -> None:
    """Wait until the other end of `line` closes, when the make ends, and kill this process and its children."""
    while os.read(line, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--job", path]:
            run_once(path)
        case ["--owners", *modules]:
            main(modules, owners=True)
        case modules:
            main(modules, owners=False)
