"""The parent's side of the worker processes: starts jobs, hears how they end, enforces time and memory limits."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from onnxbuild.base.codec import encode
from onnxbuild.base.diagnostics import Remark
from onnxbuild.base.disk import describe_refusal
from onnxbuild.base.units import format_duration, format_size
from onnxbuild.engine.job import REFUSED, Job

if TYPE_CHECKING:  # a make starts its first worker before it imports anything else
    from onnxbuild.stages.stage import AnyStage

FORKS = sys.platform == "linux"
"""Elsewhere each job gets a spawned process: macOS's system libraries do not survive a fork."""

POLL = 0.1
"""Seconds between two looks at how long jobs have run and at the resident size of their own processes."""

LOOK = 0.5
"""Seconds between two looks at what a job uses with its children: finding them takes a look at every process."""

SILENCE = float(os.environ.get("ONNXBUILD_FORK_SILENCE", "20"))
"""Seconds without a stir after which a forked child counts as hung; the environment variable is for tests."""

STIR = 0.02
"""Seconds of processor time that count as a sign of life; a process that waits for a dead thread uses none."""

YOUNG = 30.0
"""Seconds of processor time after which a child is past what hangs after a fork: it may wait as long as it likes."""

HUNG = Remark("hung-after-fork", "did not stir after its fork; killed, and run again in a process of its own")
ORPHANED = Remark("worker-lost", "its worker process died before it began; run in a process of its own")


@dataclass
class Ended:
    """A job's process is gone. `verdict` is None when it left by itself with a result, else says what happened."""

    job: Path
    verdict: str | None
    code: str = ""
    remarks: tuple[Remark, ...] = ()


@dataclass
class _Worker:
    """A process; `serves` tells one that forks for many jobs from one that runs a single job itself."""

    process: subprocess.Popen[bytes]
    serves: bool
    buffer: bytes = b""


@dataclass
class _Running:
    worker: _Worker
    started: float
    memory: int
    limit: float
    pid: int | None = None
    killed: str | None = None
    code: str = ""
    cpu: float = 0.0
    looked: float = field(default_factory=time.monotonic)
    stirred: float = field(default_factory=time.monotonic)
    hung: bool = False
    remarks: tuple[Remark, ...] = ()


def worker_arguments(stage: AnyStage, params: msgspec.Struct) -> tuple[str, ...]:
    """Return what tells the worker for an action from others: the modules that it imports, and whether it asks for
    their owners.
    """
    return (*(["--owners"] if stage.runs_user_code(params) else []), *stage.preload(params))


class Pool:
    """Worker processes by what they import beforehand; each started when first needed, all ended by `close`.

    A child that shows no sign of life for `silence` seconds after its fork is killed and its job run in a process of
    its own: a lock that another thread held at the fork stays locked in the child for ever.
    """

    def __init__(self, environment: dict[str, str], silence: float = SILENCE) -> None:
        self._environment = environment
        self._silence = silence
        self._workers: dict[tuple[str, ...], _Worker] = {}
        self._running: dict[str, _Running] = {}
        self._selector = selectors.DefaultSelector()
        self._looked = 0.0

    def prepare(self, arguments: tuple[str, ...]) -> None:
        """Start a worker that will be needed, so that it imports while others work."""
        if FORKS and arguments not in self._workers:
            self._workers[arguments] = self._spawn(*arguments)

    def start(self, job: Job, arguments: tuple[str, ...], seconds: float) -> Path:
        """Start a job in a worker for `arguments` and return its file, by which `wait` names it.

        `seconds` is the job's limit of wall time; see worker_arguments.
        """
        file = Path(job.scratch, "job.json")
        file.write_bytes(encode(job))
        worker = self._send(arguments, file) if FORKS else self._spawn("--job", str(file))
        running = _Running(worker, time.monotonic(), job.memory, seconds)
        running.pid = None if worker.serves else worker.process.pid
        self._running[str(file)] = running
        return file

    def wait(self, seconds: float) -> list[Ended]:
        """Return the jobs that ended, waiting for the first at most so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            for key, _ in self._selector.select(min(POLL, max(0.0, deadline - time.monotonic()))):
                self._hear(key.data)
            for running in list(self._running.values()):
                if not running.worker.serves and running.worker.process.poll() is not None:
                    self._lose(running.worker)
            if time.monotonic() - self._looked >= POLL:
                self._enforce_limits()
            ended = list(self._collect())
            if ended or time.monotonic() >= deadline:
                return ended

    def stop(self) -> None:
        """Kill what runs and tell all workers to end, which takes those a while that have loaded much."""
        for running in self._running.values():
            if running.pid is not None:
                _kill_group(running.pid)
        for worker in self._all():
            if worker.process.stdin is not None:
                worker.process.stdin.close()
            worker.process.kill()

    def close(self) -> None:
        """Stop, and return when all workers have ended."""
        self.stop()
        for worker in self._all():
            worker.process.wait()
            if worker.process.stdout is not None:
                worker.process.stdout.close()
        self._running.clear()
        self._workers.clear()
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _all(self) -> list[_Worker]:
        workers = [*self._workers.values(), *(running.worker for running in self._running.values())]
        return [*{id(worker): worker for worker in workers}.values()]

    def _send(self, arguments: tuple[str, ...], file: Path) -> _Worker:
        """Hand a job to the worker for `arguments`; one that has died is replaced."""
        while True:
            worker = self._workers.get(arguments)
            fresh = worker is None or worker.process.poll() is not None
            if worker is None or fresh:
                worker = self._workers[arguments] = self._spawn(*arguments)
            assert worker.process.stdin is not None
            try:
                worker.process.stdin.write(f"{file}\n".encode())
                worker.process.stdin.flush()
            except BrokenPipeError:
                worker.process.wait()
                if not fresh:
                    continue  # else `_lose` will hear of it and run the job apart
            return worker

    def _spawn(self, *arguments: str) -> _Worker:
        serves = arguments[:1] != ("--job",)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "onnxbuild.engine.worker", *arguments],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if serves else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            process_group=0,
        )
        worker = _Worker(process, serves)
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)
            self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        return worker

    def _hear(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        data = worker.process.stdout.read() or b""
        if not data:
            self._selector.unregister(worker.process.stdout)
            self._lose(worker)
            worker.process.stdout.close()
            return
        *lines, worker.buffer = (worker.buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            running = self._running.get(message["job"])
            if running is not None and "pid" in message:
                running.pid = message["pid"]
                running.started = time.monotonic()  # what the worker took to import is not the job's
            elif running is not None:
                self._end(message["job"], running, message["exit"])

    def _end(self, file: str, running: _Running, status: int) -> None:
        if running.hung:
            self._run_apart(file, running, HUNG)
            return
        if running.killed is None:
            running.killed, running.code = "" if status == 0 else _describe_exit(status), "crashed"
        running.pid = None

    def _run_apart(self, file: str, running: _Running, why: Remark) -> None:
        """Run a job again from the start, in a process that is not forked."""
        for name in ("in", "out", "tmp"):
            shutil.rmtree(Path(file).parent / name, ignore_errors=True)
        running.hung, running.remarks = False, (why,)
        running.worker, running.started = self._spawn("--job", file), time.monotonic()
        running.pid = running.worker.process.pid

    def _lose(self, worker: _Worker) -> None:
        """Take in that a worker's process has ended, and with it all it ran."""
        status = worker.process.wait()
        if worker.process.stdin is not None:
            worker.process.stdin.close()
        for file, running in self._running.items():
            if running.worker is not worker or (running.killed is not None and running.pid is None):
                continue
            if running.pid is not None:
                _kill_group(running.pid)  # its child dies with it, but not what that has started
            if running.pid is None and not running.hung:
                self._run_apart(file, running, ORPHANED)
            elif running.hung or not worker.serves:
                self._end(file, running, status)
            else:
                running.killed, running.code = f"its worker process {_describe_exit(status)}", "worker-lost"
                running.pid = None
        self._workers = {key: w for key, w in self._workers.items() if w is not worker}

    def _enforce_limits(self) -> None:
        self._looked = time.monotonic()
        for running in self._running.values():
            if running.killed is not None or running.hung:
                continue
            pid = running.pid if running.pid is not None else running.worker.process.pid
            if running.pid is not None and self._looked - running.started > running.limit:
                running.killed = f"exceeded its time limit of {format_duration(running.limit)}"
                running.code = "time-limit"
            elif self._looked - running.looked >= LOOK:
                running.looked = self._looked
                self._look(running, pid)
            elif running.pid is not None:
                _limit_memory(running, _resident(pid))
            if running.killed is not None or running.hung:
                _kill_group(pid)

    def _look(self, running: _Running, pid: int) -> None:
        memory, cpu = _use(pid)
        if running.pid is not None:
            _limit_memory(running, memory)
        if running.killed is None and running.worker.serves:
            running.hung = self._is_silent(running, cpu)

    def _is_silent(self, running: _Running, cpu: float) -> bool:
        now = time.monotonic()
        if cpu > YOUNG or abs(cpu - running.cpu) > STIR:
            running.cpu, running.stirred = cpu, now
        return now - running.stirred > self._silence

    def _collect(self) -> Iterator[Ended]:
        for file, running in list(self._running.items()):
            if running.killed is not None and running.pid is None:
                del self._running[file]
                yield Ended(Path(file), running.killed or None, running.code, running.remarks)


def _describe_exit(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    if (reason := describe_refusal(OSError(status - REFUSED, ""))) is not None:
        return f"could not write its result: {reason}"
    return f"left with exit status {status} and no result"


def _limit_memory(running: _Running, memory: int) -> None:
    if memory > running.memory:
        running.killed = f"exceeded its memory limit of {format_size(running.memory)}"
        running.code = "memory-limit"


def _resident(pid: int) -> int:
    """Return the resident bytes of one process."""
    import psutil  # as below

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _use(pid: int) -> tuple[int, float]:
    """Return the resident bytes of a process and its children, those they share counted once each, and the seconds of
    processor time they have used.
    """
    import psutil  # loaded while the first job runs, where it holds up nothing

    memory, seconds = 0, 0.0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error), each.oneshot():
                memory += each.memory_info().rss
                seconds += sum(each.cpu_times()[:4])  # its own and its dead children's, user and system
    return memory, seconds


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
