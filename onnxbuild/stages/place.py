"""The place stage: which nodes of a model really run on a provider, and how its outputs agree; no verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from onnxbuild.ort.facts import Assignment, Device, Profile
from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.recipe.providers import TABLE
from onnxbuild.recipe.types import Session
from onnxbuild.stages.packages import ONNXRUNTIME, PRELOAD
from onnxbuild.stages.stage import Stage, Workspace
from onnxbuild.stages.tune import session_of, threads_of

if TYPE_CHECKING:
    from pathlib import Path

    from onnxbuild.data.calls import Calls
    from onnxbuild.ort.providers import Opened

MOST_CALLS = 8
"""Calls of the evaluation data that are run on the provider, and on the CPU to compare with."""


class PlaceParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of place. Inputs: `model`, `calls`. `options` are the provider's own."""

    provider: str
    options: dict[str, str]
    session: Session


class PlaceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked and what the session got; no artifact.

    `absent` says why there is no such provider here: then nothing else is known. `got` are the session's providers,
    `devices` those that the provider offers. `model_nodes` are the nodes of the model file, subgraphs included,
    `assignment` says where those went that the runtime's simplification left, `profile` what ran after its fusion.
    `agreement` is how far the outputs of `calls` calls are from the CPU provider's; empty for the CPU itself.
    """

    asked: str
    absent: str | None = None
    got: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    model_nodes: int = 0
    assignment: Assignment | None = None
    profile: Profile | None = None
    calls: int = 0
    agreement: tuple[OutputMeasures, ...] = ()


def run(params: PlaceParams, work: Workspace) -> PlaceFacts:
    """Open the model on the provider, run some calls, and read the runtime's record. Raises StageFailure."""
    from onnxbuild.data.calls import read_calls
    from onnxbuild.ir.describe import describe
    from onnxbuild.ir.model import MODEL
    from onnxbuild.ort.placement import RECORD, read_assignment
    from onnxbuild.ort.providers import Absent, open_on

    asked = TABLE[params.provider].full_name
    model = work.inputs["model"] / MODEL
    opened = open_on(
        model,
        params.provider,
        params.options,
        session_of(params.session, work),
        settings={RECORD: "1"},
        profile=work.scratch / "profile",
        verbose=True,
    )
    if isinstance(opened, Absent):
        return PlaceFacts(asked=asked, absent=opened.why)
    calls = read_calls(work.inputs["calls"])
    agreement = _run(model, params, work, opened, calls)
    return PlaceFacts(
        asked=asked,
        got=tuple(opened.session.get_providers()),
        devices=opened.devices,
        model_nodes=describe(work.inputs["model"]).nodes,
        assignment=read_assignment(opened.session.get_provider_graph_assignment_info(), asked, opened.log),
        profile=_profile(opened),
        calls=min(len(calls), MOST_CALLS),
        agreement=agreement,
    )


def _run(model: Path, params: PlaceParams, work: Workspace, opened: Opened, calls: Calls) -> tuple[OutputMeasures, ...]:
    """Run the calls on the provider and, unless that is the CPU, compare with what the CPU computes."""
    from itertools import islice

    from onnxbuild.ort.session import open_session, run_call
    from onnxbuild.proof.compare import Comparison

    cpu = open_session(model, session_of(params.session, work)) if params.provider != "cpu" else None
    comparisons = {value.name: Comparison(value.name) for value in opened.session.get_outputs()}
    for call in islice(calls, MOST_CALLS):
        outputs = run_call(opened.session, call)
        if cpu is not None:
            for name, expected in run_call(cpu, call).items():
                comparisons[name].add(expected, outputs[name], expected.shape[0] if expected.ndim else 1)
    return () if cpu is None else tuple(comparison.result() for comparison in comparisons.values())


def _profile(opened: Opened) -> Profile:
    import json
    from pathlib import Path

    from onnxbuild.ort.placement import read_profile

    return read_profile(json.loads(Path(opened.session.end_profiling()).read_text(encoding="utf-8")))


PLACE = Stage(
    name="place",
    version=3,
    params=PlaceParams,
    facts=PlaceFacts,
    run=run,
    packages=lambda params: ("ml-dtypes", "numpy", ONNXRUNTIME, *TABLE[params.provider].distributions),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda _: False,
    only_reads=True,
    seconds=0.5,
    hardware=lambda _: True,
    devices=lambda params: params.provider != "cpu",
    threads=lambda params, told: threads_of(params.session, told),
    cores=lambda params: params.session.intra_op_threads == 0,
)
