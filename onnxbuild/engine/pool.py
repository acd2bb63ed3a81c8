"""The parent's side of the worker processes: starts jobs, hears how they end, enforces time and memory limits."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from onnxbuild.base.codec import encode
from onnxbuild.base.units import format_duration, format_size
from onnxbuild.engine.job import Job

FORKS = sys.platform == "linux"
"""Elsewhere each job gets a spawned process: macOS's system libraries do not survive a fork."""

POLL = 0.1
"""Seconds between two looks at the resident size of running jobs."""


@dataclass
class Ended:
    """A job's process is gone. `verdict` is None when it left by itself with a result, else says what happened."""

    job: Path
    verdict: str | None
    code: str = ""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    buffer: bytes = b""


@dataclass
class _Running:
    worker: _Worker
    started: float
    memory: int
    time: float
    pid: int | None = None
    killed: str | None = None
    code: str = ""


class Pool:
    """Worker processes by what they import beforehand; each started when first needed, all ended by `close`."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._workers: dict[tuple[str, ...], _Worker] = {}
        self._running: dict[str, _Running] = {}
        self._selector = selectors.DefaultSelector()

    def start(self, job: Job, preload: tuple[str, ...], seconds: float) -> Path:
        """Start a job and return its file, by which `wait` names it; `seconds` is its limit of wall time."""
        file = Path(job.scratch, "job.json")
        file.write_bytes(encode(job))
        arguments = [*(["--owners"] if job.user_code else []), *preload]
        worker = self._worker(tuple(arguments)) if FORKS else self._spawn("--job", str(file))
        self._running[str(file)] = _Running(worker, time.monotonic(), job.memory, seconds)
        if FORKS:
            assert worker.process.stdin is not None
            worker.process.stdin.write(f"{file}\n".encode())
            worker.process.stdin.flush()
        else:
            self._running[str(file)].pid = worker.process.pid
        return file

    def wait(self, seconds: float) -> list[Ended]:
        """Return the jobs that ended, waiting for the first at most so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            for key, _ in self._selector.select(min(POLL, max(0.0, deadline - time.monotonic()))):
                self._hear(key.data)
            self._enforce_limits()
            ended = list(self._collect())
            if ended or time.monotonic() >= deadline:
                return ended

    def close(self) -> None:
        """Kill what runs and end all workers."""
        for running in self._running.values():
            if running.pid is not None:
                _kill_group(running.pid)
        for worker in {
            id(w): w for w in [*self._workers.values(), *(r.worker for r in self._running.values())]
        }.values():
            if worker.process.stdin is not None:
                worker.process.stdin.close()
            worker.process.kill()
            worker.process.wait()
            if worker.process.stdout is not None:
                worker.process.stdout.close()
        self._running.clear()
        self._workers.clear()
        self._selector.close()

    def _worker(self, arguments: tuple[str, ...]) -> _Worker:
        worker = self._workers.get(arguments)
        if worker is None or worker.process.poll() is not None:
            worker = self._workers[arguments] = self._spawn(*arguments)
        return worker

    def _spawn(self, *arguments: str) -> _Worker:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "onnxbuild.engine.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            process_group=0,
        )
        worker = _Worker(process)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        return worker

    def _hear(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        data = worker.process.stdout.read() or b""
        if not data:
            self._selector.unregister(worker.process.stdout)
            self._lose(worker)
            return
        *lines, worker.buffer = (worker.buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            running = self._running.get(message["job"])
            if running is not None and "pid" in message:
                running.pid = message["pid"]
                running.started = time.monotonic()  # what the worker took to import is not the job's
            elif running is not None:
                self._end(running, message["exit"])

    def _end(self, running: _Running, status: int) -> None:
        if running.killed is None:
            running.killed, running.code = "" if status == 0 else _describe_exit(status), "crashed"
        running.pid = None

    def _lose(self, worker: _Worker) -> None:
        status = worker.process.wait()
        for running in self._running.values():
            if running.worker is worker and (running.killed is None or running.pid is not None):
                if FORKS:
                    running.killed, running.code = f"its worker process {_describe_exit(status)}", "worker-lost"
                    running.pid = None
                else:
                    self._end(running, status)
        self._workers = {key: w for key, w in self._workers.items() if w is not worker}

    def _enforce_limits(self) -> None:
        for running in self._running.values():
            if running.pid is None or running.killed is not None:
                continue
            if time.monotonic() - running.started > running.time:
                running.killed = f"exceeded its time limit of {format_duration(running.time)}"
                running.code = "time-limit"
            elif _resident(running.pid) > running.memory:
                running.killed = f"exceeded its memory limit of {format_size(running.memory)}"
                running.code = "memory-limit"
            if running.killed is not None:
                _kill_group(running.pid)

    def _collect(self) -> Iterator[Ended]:
        for file, running in list(self._running.items()):
            if running.killed is not None and running.pid is None:
                del self._running[file]
                yield Ended(Path(file), running.killed or None, running.code)


def _describe_exit(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"left with exit status {status} and no result"


def _resident(pid: int) -> int:
    """Return the resident bytes of a process and its children, those they share counted once each."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += each.memory_info().rss
    return total


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
