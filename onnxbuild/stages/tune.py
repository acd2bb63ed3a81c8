"""The tune stage: the session configuration with which a model is fastest, or smallest, on this kind of machine.

It measures candidates in turns with the runtime's defaults and keeps these unless a gain is beyond chance.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from onnxbuild.base.codec import decode, encode
from onnxbuild.proof.timing import Estimate, Surroundings
from onnxbuild.proof.tuning import Tried, search
from onnxbuild.recipe.providers import TABLE
from onnxbuild.recipe.types import Axis, Input, Session
from onnxbuild.stages.packages import ONNXRUNTIME, PRELOAD
from onnxbuild.stages.stage import Stage, Workspace

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
    """What was chosen, and what was tried for it in order. Output: `session`, the choice as session.json."""

    objective: str
    batch: int
    session: Session
    tried: tuple[Tried, ...]
    surroundings: Surroundings


def run(params: TuneParams, work: Workspace) -> TuneFacts:
    """Search and deliver the choice. Raises StageFailure."""
    from onnxbuild.stages.measuring import AbsentError, Bench
    from onnxbuild.stages.surroundings import describe_surroundings, no_garbage_collection, system_load

    before = system_load()
    bench = Bench(
        work, (params.provider, params.options), params.session, params.inputs, params.axes, params.min_seconds, ()
    )

    def compare(one: Session, other: Session) -> Estimate:
        if params.objective == MEMORY:
            return bench.frugality(one, other, params.batch)
        return bench.turns(one, "model", other, params.batch).ratio

    chosen, tried = params.session, tuple[Tried, ...]()
    try:
        with no_garbage_collection():
            chosen, tried = search(params.session, _alternatives(params), compare)
    except AbsentError as error:
        work.warn("not-tuned", f"there is no {params.provider} here to tune the session on: {error}")
    (work.output("session") / FILE).write_bytes(encode(chosen))
    return TuneFacts(
        objective=params.objective,
        batch=params.batch,
        session=chosen,
        tried=tried,
        surroundings=describe_surroundings(chosen, before),
    )


def session_of(declared: Session, work: Workspace, label: str = "session") -> Session:
    """Return the session that a stage is to use: what tune chose where it did, else the recipe's."""
    folder: Path | None = work.inputs.get(label)
    return declared if folder is None else decode((folder / FILE).read_bytes(), Session)


def _alternatives(params: TuneParams) -> dict[str, tuple[object, ...]]:
    """Return the values to try of each setting that the recipe leaves open."""
    cores = os.cpu_count() or 1
    threads = tuple(sorted({n for n in (2, 4, 8, 16, 32, 64) if n < cores} | {cores} - {1}))
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
    version=1,
    params=TuneParams,
    facts=TuneFacts,
    run=run,
    packages=lambda params: ("ml-dtypes", "numpy", ONNXRUNTIME, *TABLE[params.provider].distributions),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda _: False,
    seconds=5.0,
    only_reads=True,
    hardware=lambda _: True,
    devices=lambda params: params.provider != "cpu",
    alone=True,
)
