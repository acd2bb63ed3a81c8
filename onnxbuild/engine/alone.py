"""Runs one stage in a worker with limits, outside any plan: for commands that only look at a foreign model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from onnxbuild.base.codec import decode, encode
from onnxbuild.base.units import format_duration, format_size
from onnxbuild.engine.crash import library_of
from onnxbuild.engine.events import Failure
from onnxbuild.engine.host import user_environment, worker_environment
from onnxbuild.engine.job import RESULT, Job, JobResult
from onnxbuild.engine.pool import Pool, worker_arguments
from onnxbuild.stages.stage import AnyStage
from onnxbuild.store.artifact import Artifact

MEMORY = 4_000_000_000
SECONDS = 120.0


def run_alone(
    stage: AnyStage,
    params: msgspec.Struct,
    files: Mapping[str, Path],
    scratch: Path,
    inputs: Mapping[str, Artifact] | None = None,
    store: Path | None = None,
    memory: int = MEMORY,
) -> JobResult:
    """Run `stage` on `files`, and on artifacts in `store`, with at most `memory` bytes and two minutes.

    Nothing is kept.
    """
    job = Job(
        action=stage.name,
        stage=stage.name,
        params=msgspec.Raw(encode(params)),
        inputs=dict(inputs or {}),
        files={label: str(path) for label, path in files.items()},
        store=str(store or scratch / "store"),
        project=str(scratch),
        folder=str(scratch),
        hidden=(),
        scratch=str(scratch),
        log=str(scratch / "log"),
        environment=user_environment(()),
        reads=(),
        user_code=False,
        memory=memory,
        seconds=SECONDS,
    )
    pool = Pool(worker_environment())
    try:
        file = pool.start(job, worker_arguments(stage, params), SECONDS)
        ended = pool.wait(SECONDS + 60)
        if not ended or ended[0].verdict is not None:
            why = (ended[0].verdict or "") if ended else "did not end"
            allowed = f"it may take {format_size(memory)} and {format_duration(SECONDS)}"
            tool = library_of(Path(job.log), why)
            where = f" in {tool}" if tool is not None else ""
            return JobResult(failure=Failure(code="crashed", message=f"the stage {why}{where}; {allowed}", tool=tool))
        return decode((file.parent / RESULT).read_bytes(), JobResult)
    finally:
        pool.close()
