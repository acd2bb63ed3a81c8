"""The jobs of one run: handed to workers with all they need, heard, and read when they end; decides nothing."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from onnxbuild.base.codec import decode, encode
from onnxbuild.base.diagnostics import Remark
from onnxbuild.engine.crash import library_of
from onnxbuild.engine.decide import Decision
from onnxbuild.engine.events import Failure
from onnxbuild.engine.host import physical_memory, user_environment
from onnxbuild.engine.job import PROGRESS, RESULT, Job, JobResult
from onnxbuild.engine.options import Options, Places
from onnxbuild.engine.order import Load
from onnxbuild.engine.pool import Ended, Pool, worker_arguments
from onnxbuild.engine.scratch import Scratch
from onnxbuild.plan.action import Action
from onnxbuild.stages.table import STAGES
from onnxbuild.store.artifact import Artifact
from onnxbuild.store.locks import BothLocks, KeyLock
from onnxbuild.store.store import Store

TIME_LIMIT = 1800.0
"""Default seconds of wall time for one action."""

PROGRESS_POLL = 5.0
"""Seconds between two looks at how far a running stage says it is."""


@dataclass
class Started:
    """An action whose job runs since the monotonic time `since`, and the lock of its key, which it holds."""

    action: Action
    decision: Decision
    lock: KeyLock | BothLocks
    load: Load
    since: float
    scratch: Path
    log: Path
    heard: float = field(default_factory=time.monotonic)
    lines: int = 0


class Jobs:
    """The jobs that run now, each in a folder of the run's own."""

    def __init__(self, pool: Pool, store: Store, places: Places, options: Options) -> None:
        self._pool, self._store, self._places, self._options = pool, store, places, options
        self._scratch = Scratch(places.scratch)
        self._memory = options.limits.memory or int(physical_memory() * 0.75)
        self._started: dict[Path, Started] = {}

    def __len__(self) -> int:
        return len(self._started)

    def __iter__(self) -> Iterator[Started]:
        return iter(self._started.values())

    def start(
        self,
        action: Action,
        decision: Decision,
        inputs: Mapping[str, Artifact],
        machine: str,
        load: Load,
        lock: KeyLock | BothLocks,
    ) -> None:
        """Start the job of an action with its `inputs`; `machine` is the class of the machine, `lock` is held."""
        job = self._job(action, inputs, machine)
        file = self._pool.start(job, worker_arguments(STAGES[action.stage], action.params), job.seconds)
        self._started[file] = Started(action, decision, lock, load, time.monotonic(), file.parent, Path(job.log))

    def wait(self, seconds: float) -> Iterator[tuple[Started, JobResult, tuple[Remark, ...]]]:
        """Yield what ended, with its result and remarks on how it ran; waits for the first at most so many seconds.

        Whoever takes one in must `release` it.
        """
        for ended in self._pool.wait(seconds):
            started = self._started.pop(ended.job)
            result = _read_result(started, ended)
            self._store.blobs.known.add(result.known)
            yield started, result, ended.remarks

    def release(self, started: Started) -> None:
        """Let others build the key of what has ended, and remove its folder."""
        started.lock.release()
        self._scratch.discard(started.scratch)

    def said(self) -> Iterator[tuple[Action, str]]:
        """Yield the last thing that each running stage has said, at most every PROGRESS_POLL seconds."""
        for started in self:
            now = time.monotonic()
            if now - started.heard >= PROGRESS_POLL:
                started.heard = now
                lines = _lines(started.scratch / PROGRESS)
                if len(lines) > started.lines:
                    started.lines = len(lines)
                    yield started.action, lines[-1]

    def stop(self) -> None:
        """Kill what runs, and tell the workers to end."""
        if self._started:
            self._pool.close()  # before anyone else may build the same
        self._pool.stop()
        for started in self:
            started.lock.release()

    def close(self) -> None:
        """Return when all workers have ended and nothing is left of them."""
        self._pool.close()
        self._scratch.release()

    def _job(self, action: Action, inputs: Mapping[str, Artifact], machine: str) -> Job:
        scratch = Path(tempfile.mkdtemp(dir=self._scratch.path))
        root = self._places.root
        return Job(
            action=action.name,
            stage=action.stage,
            params=msgspec.Raw(encode(action.params)),
            inputs=dict(inputs),
            files={label: str(root / path) for label, path in action.files.items()},
            store=str(self._store.root),
            project=str(root),
            folder=str(root / action.folder),
            hidden=tuple(str(folder) for folder in self._places.hidden),
            scratch=str(scratch),
            log=str(self._places.log(action.name)),
            environment=user_environment(
                action.env, self._options.hash_seed, devices=STAGES[action.stage].devices(action.params)
            ),
            reads=tuple(f"{action.folder}/{pattern}" for pattern in action.reads),
            user_code=STAGES[action.stage].runs_user_code(action.params),
            memory=self._memory,
            seconds=self._options.limits.time or TIME_LIMIT,
            strict_reads=action.strict_reads,
            locked=action.locked,
            remeasure=self._options.remeasure,
            machine=machine,
            known=tuple(self._store.blobs.known_of(inputs.values())),
        )


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _read_result(started: Started, ended: Ended) -> JobResult:
    """Return what the job left; a job whose process died has failed, whatever it had written."""
    if ended.verdict is None:
        try:
            return decode((started.scratch / RESULT).read_bytes(), JobResult)
        except (FileNotFoundError, msgspec.MsgspecError):
            return JobResult(failure=Failure(code="crashed", message="its process left without a whole result"))
    hint = None
    if ended.code in ("time-limit", "memory-limit"):
        hint = f"raise `limits: {{{ended.code.partition('-')[0]}: …}}` in onnxbuild.yaml if the model needs it"
    tool = library_of(started.log, ended.verdict)
    where = f" in {tool}" if tool is not None else ""
    return JobResult(
        failure=Failure(code=ended.code, message=f"the stage {ended.verdict}{where}", hint=hint, tool=tool)
    )
