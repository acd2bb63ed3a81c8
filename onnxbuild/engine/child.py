"""Runs one job in a process of its own: limits, environment, inputs laid out, the stage, outputs stored."""

from __future__ import annotations

import faulthandler
import os
import resource
import shutil
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from onnxbuild.base.atomic import write_atomically
from onnxbuild.base.codec import decode, encode
from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.disk import describe_refusal
from onnxbuild.engine.discover import Watch
from onnxbuild.engine.events import Failure
from onnxbuild.engine.findings import Declared
from onnxbuild.engine.job import PROGRESS, REFUSED, RESULT, Job, JobResult, repro_of
from onnxbuild.stages.reverts import REPRO
from onnxbuild.stages.stage import AnyStage, Workspace
from onnxbuild.stages.table import STAGES
from onnxbuild.store.blobs import BlobStore, CorruptBlobError


@dataclass(frozen=True)
class Order:
    """A job as it was read from its file, with the stage's parameters."""

    job: Job
    params: msgspec.Struct


@dataclass(frozen=True)
class Unread:
    """A job whose file cannot be read: its own failure, and not that of its worker, which has other children."""

    file: Path
    failure: Failure


def read_order(file: Path) -> Order | Unread:
    """Read a job's file; a worker does so before it forks, since to look up types takes longer than to decode them."""
    try:
        job = decode(file.read_bytes(), Job)
        return Order(job, msgspec.json.decode(job.params, type=STAGES[job.stage].params))
    except OSError as error:
        return Unread(file, _refused(error))
    except Exception as error:
        return Unread(file, _unexpected(error))


def run_job(order: Order | Unread, owners: Mapping[str, Sequence[str]] | None = None) -> int:
    """Run a job, write its result into its folder and return the process's exit status.

    Never raises for what the job did. The status is 0 when the result is written.
    """
    if isinstance(order, Unread):
        write_atomically(order.file.with_name(RESULT), encode(JobResult(failure=order.failure)), durable=False)
        return 0
    job = order.job
    try:
        _enter(job)
        write_atomically(Path(job.scratch, RESULT), encode(_try(order, owners)), durable=False)
    except OSError as error:  # not even the log may have room
        return REFUSED + min(error.errno or 0, 127)
    return 0


def _try(order: Order, owners: Mapping[str, Sequence[str]] | None) -> JobResult:
    job = order.job
    try:
        result = _run(job, order.params, owners)
    except CorruptBlobError as error:
        result = JobResult(corrupt=error.digest)
    except StageFailure as failure:
        kept = _keep_repro(job)
        result = JobResult(
            failure=Failure(
                code=failure.code,
                message=failure.message,
                hint="; ".join(filter(None, (failure.hint, kept))) or None,
                tool=failure.tool,
                node=failure.node,
                traceback=failure.traceback,
            )
        )
    except MemoryError:
        traceback.print_exc()
        result = JobResult(failure=Failure(code="out-of-memory", message="the stage ran out of memory"))
    except OSError as error:
        traceback.print_exc()
        result = JobResult(failure=_refused(error))
        for name in ("in", "out", "tmp"):  # on a full disk they leave no room for the result
            shutil.rmtree(Path(job.scratch, name), ignore_errors=True)
    except BaseException as error:
        traceback.print_exc()
        result = JobResult(failure=_unexpected(error))
    return result


def _keep_repro(job: Job) -> str | None:
    """Put what a failed stage left to show its fault beside its log; return the hint that tells of it."""
    made = Path(job.scratch, "out", REPRO)
    if not made.is_dir():
        return None
    shutil.copytree(made, repro_of(job.log), copy_function=shutil.copyfile)
    return f"onnxbuild repro {job.action} --out DIR copies out a small model that shows it"


def _refused(error: OSError) -> Failure:
    """Return what the system refused as the failure of the stage; an error that says nothing of it is our bug."""
    reason = describe_refusal(error)
    if reason is None:
        return _unexpected(error)
    return Failure(code="refused", message=f"the stage could not go on: {reason}", hint="mend that and make again")


def _unexpected(error: BaseException) -> Failure:
    text = "".join(traceback.format_exception_only(error)).strip()
    return Failure(code="internal", message=f"unexpected error: {text}")


def _enter(job: Job) -> None:
    shutil.rmtree(repro_of(job.log), ignore_errors=True)
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.enable(2, all_threads=False)  # a crash leaves in the log where it was
    resource.setrlimit(resource.RLIMIT_DATA, (job.memory, job.memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ.clear()
    os.environ.update(job.environment)
    temporary = Path(job.scratch, "tmp")
    temporary.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    os.chdir(job.folder)
    sys.dont_write_bytecode = True


def _run(job: Job, params: msgspec.Struct, owners: Mapping[str, Sequence[str]] | None) -> JobResult:
    stage = STAGES[job.stage]
    scratch = Path(job.scratch)
    blobs = BlobStore(Path(job.store), job.known)
    inputs = {label: scratch / "in" / label for label in job.inputs}
    for label, artifact in job.inputs.items():
        blobs.lay_out(artifact, inputs[label], link=stage.only_reads and not job.user_code)
    watch = Watch(Path(job.project), (*job.hidden, job.store), scratch, _external_data)
    workspace = Workspace(
        inputs=inputs,
        files={label: Path(path) for label, path in job.files.items()},
        out=scratch / "out",
        scratch=Path(job.scratch, "tmp"),
        recipe_folder=Path(job.folder),
        seconds=job.seconds,
        leave_fork=watch.see_modules,
        locked=job.locked,
        remeasure=job.remeasure,
        machine=job.machine,
        journal=scratch / PROGRESS,
    )
    if job.user_code:
        sys.path[:0] = _import_folders(job)
        watch.start(trusts_file="path" in job.files)
    facts = _run_stage(stage, params, workspace)
    watch.add(workspace.seen, workspace.modules)
    outputs = {}
    if workspace.out.exists():
        outputs = {
            folder.name: blobs.add_folder(folder, take=not job.user_code) for folder in sorted(workspace.out.iterdir())
        }
    discovered, remarks = watch.found(Declared((*job.files.values(),), job.reads, job.strict_reads), owners)
    return JobResult(
        facts=msgspec.Raw(encode(facts)),
        outputs=outputs,
        warnings=(*dict.fromkeys([*workspace.warnings, *remarks]),),
        discovered=discovered,
        known=tuple(blobs.known_of([*job.inputs.values(), *outputs.values()])),
    )


def _import_folders(job: Job) -> list[str]:
    """Return what comes first on `sys.path`: the folder of the file that holds user code, then the project."""
    files = [path for label, path in job.files.items() if path.endswith(".py") or (label == "path")]
    return [*dict.fromkeys([*(str(Path(file).parent) for file in files), job.project])]


def _external_data(file: str) -> list[str]:
    from onnxbuild.ir.external_data import external_data_of  # a child that sees no ONNX file needs no onnx

    return external_data_of(file)


def _run_stage(stage: AnyStage, params: msgspec.Struct, workspace: Workspace) -> msgspec.Struct:
    facts: msgspec.Struct = stage.run(params, workspace)
    if type(facts) is not stage.facts:
        raise TypeError(f"stage {stage.name} returned {type(facts).__name__}, not {stage.facts.__name__}")
    return facts
