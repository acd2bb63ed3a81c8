"""The tune stage: the session configuration with which a model is fastest, or smallest, on this kind of machine.

It measures candidates in turns with the runtime's defaults and keeps these unless a gain is beyond chance. What a lock
has for this kind of machine stands in for that.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from onnxbuild.base.codec import decode, encode, to_builtins
from onnxbuild.proof.timing import Estimate, Surroundings
from onnxbuild.proof.tuning import Tried, search
from onnxbuild.recipe.providers import TABLE
from onnxbuild.recipe.types import Axis, Choice, Input, Session, TunedSession
from onnxbuild.stages.packages import ONNXRUNTIME, PRELOAD
from onnxbuild.stages.stage import Stage, Told, Workspace
from onnxbuild.stamp import cores

FILE = "session.json"
MEMORY = "memory"


class TuneParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of tune. Inputs: `model`, `calls`. `session` holds what the recipe settles, which is not varied."""

    provider: str
    options: dict[str, str] = {}
    objective: str
    session: Session
    inputs: tuple[Input, ...]
    axes: dict[str, Axis]
    batch: int
    min_seconds: float


class TuneFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen, and what was tried for it in order. Output: `session`, the choice as session.json.

    `machine` is the class of the machine. `locked` is what the lock had for it, `from_lock` that it was taken: then
    nothing was tried. `absent` says why there is no such provider here: then nothing was chosen.
    """

    objective: str
    provider: str
    batch: int
    session: Session
    tried: tuple[Tried, ...] = ()
    surroundings: Surroundings
    machine: str
    locked: TunedSession | None = None
    from_lock: bool = False
    absent: str | None = None


def run(params: TuneParams, work: Workspace) -> TuneFacts:
    """Deliver what the lock has for this machine, else search and deliver the choice. Raises StageFailure."""
    from onnxbuild.stages.measuring import AbsentError
    from onnxbuild.stages.surroundings import describe_surroundings, system_load

    before = system_load()
    locked = dict(work.locked.sessions or ()).get(work.machine) if work.locked is not None else None
    from_lock = locked is not None and _answers(locked, params) and not work.remeasure
    chosen, tried, absent = params.session, tuple[Tried, ...](), None
    if locked is not None and from_lock:
        chosen = locked.session
    else:
        try:
            chosen, tried = _search(params, work)
        except AbsentError as error:
            absent = str(error)
            work.warn("not-tuned", f"there is no {params.provider} here to tune the session on: {absent}")
    (work.output("session") / FILE).write_bytes(encode(chosen))
    return TuneFacts(
        objective=params.objective,
        provider=params.provider,
        batch=params.batch,
        session=chosen,
        tried=tried,
        surroundings=describe_surroundings(chosen, before),
        machine=work.machine,
        locked=locked,
        from_lock=from_lock,
        absent=absent,
    )


def _answers(locked: TunedSession, params: TuneParams) -> bool:
    """Tell whether a session was chosen for what is asked now, and has what the recipe settles now."""
    asked = (params.objective, params.provider, params.batch)
    settled = {name: value for name, value in to_builtins(params.session).items() if value is not None}
    return (locked.objective, locked.provider, locked.batch) == asked and all(
        getattr(locked, name) == value for name, value in settled.items()
    )


def _search(params: TuneParams, work: Workspace) -> tuple[Session, tuple[Tried, ...]]:
    """Return the best session and all that was tried. Raises AbsentError."""
    from onnxbuild.stages.measuring import Bench
    from onnxbuild.stages.surroundings import no_garbage_collection

    bench = Bench(
        work,
        (params.provider, params.options),
        params.session,
        params.inputs,
        params.axes,
        params.min_seconds,
        (),
        simulated=False,
    )

    def compare(one: Session, other: Session) -> Estimate:
        if params.objective == MEMORY:
            return bench.frugality(one, other, params.batch)
        return bench.turns(one, "model", other, params.batch).ratio

    with no_garbage_collection():
        return search(params.session, _alternatives(params), compare)


def session_of(declared: Session, work: Workspace, label: str = "session") -> Session:
    """Return the session that a stage is to use: what tune chose where it did, else the recipe's."""
    folder: Path | None = work.inputs.get(label)
    return declared if folder is None else decode((folder / FILE).read_bytes(), Session)


def threads_of(declared: Session, told: Told) -> int:
    """Return how many cores a session keeps busy: the one that tune chose where it did, else the recipe's."""
    tuned: TuneFacts | None = told("session")
    threads = (tuned.session if tuned is not None else declared).intra_op_threads
    return 1 if threads is None else threads or cores()


def _honours(choice: Choice, facts: TuneFacts) -> bool:
    """Tell whether a session is the lock's for its machine or was chosen in spite of it; without one, measured."""
    locked = dict(choice.sessions or ()).get(facts.machine)
    return not facts.from_lock if locked is None else locked in (facts.locked, tuned(facts))


def tuned(facts: TuneFacts) -> TunedSession:
    """Return the choice as a lock has it."""
    asked = {"objective": facts.objective, "provider": facts.provider, "batch": facts.batch}
    return msgspec.convert({**asked, **to_builtins(facts.session)}, TunedSession)


def _alternatives(params: TuneParams) -> dict[str, tuple[object, ...]]:
    """Return the values to try of each setting that the recipe leaves open."""
    most = cores()
    threads = tuple(sorted({n for n in (2, 4, 8, 16, 32, 64) if n < most} | {most} - {1}))
    found: dict[str, tuple[object, ...]] = {
        "intra_op_threads": threads,
        "graph_optimization": ("extended", "basic"),
        "memory_pattern": (False,),
        "cpu_arena": (False,),
    }
    if params.objective == MEMORY:
        del found["intra_op_threads"]
    return {name: values for name, values in found.items() if getattr(params.session, name) is None}


TUNE = Stage(
    name="tune",
    version=4,
    params=TuneParams,
    facts=TuneFacts,
    run=run,
    packages=lambda params: ("ml-dtypes", "numpy", ONNXRUNTIME, *TABLE[params.provider].distributions),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda _: False,
    seconds=5.0,
    only_reads=True,
    honours=_honours,
    hardware=lambda _: True,
    cores=lambda _: True,
    devices=lambda params: params.provider != "cpu",
    alone=True,
)
