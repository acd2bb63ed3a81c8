"""Gathers what a report shows from plan, outcomes and traces; draws nothing and reads no model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from onnxbuild import __version__
from onnxbuild.base.digest import digest_bytes
from onnxbuild.base.git import GitError, git
from onnxbuild.engine.events import Status
from onnxbuild.engine.run import Outcome
from onnxbuild.plan.action import Action, Plan, TargetPlan
from onnxbuild.proof.gates import GateResult, Verdict
from onnxbuild.recipe.changes import changed_lines, compare_entries
from onnxbuild.recipe.history import History
from onnxbuild.recipe.lock import Lock, lock_path, read_lock
from onnxbuild.recipe.problems import Problems
from onnxbuild.recipe.types import FileData, LoaderData, RandomData, Recipe, Target
from onnxbuild.report.facts import (
    ActionFacts,
    ActionRun,
    ArtifactFacts,
    BenchmarkedProvider,
    CompiledModel,
    DataSetFacts,
    DeclaredFacts,
    FileFacts,
    ProvenanceFacts,
    ProviderAccuracy,
    ProviderPlacement,
    ReportFacts,
    RewrittenFacts,
    RunFacts,
    StepFacts,
    TargetFacts,
    VersusFacts,
)
from onnxbuild.report.limit_place import limit_place
from onnxbuild.report.titles import title_action
from onnxbuild.stages.auto import AutoFacts
from onnxbuild.stages.benchmark import BenchmarkFacts
from onnxbuild.stages.blame import BlameFacts
from onnxbuild.stages.compile import CompileFacts
from onnxbuild.stages.data import DataFacts
from onnxbuild.stages.export import ExportFacts
from onnxbuild.stages.optimize import OptimizeFacts, OptimizeParams
from onnxbuild.stages.package import PackageFacts
from onnxbuild.stages.place import PlaceFacts
from onnxbuild.stages.prune import PruneFacts
from onnxbuild.stages.quantize import QuantizeFacts
from onnxbuild.stages.reference import ReferenceFacts
from onnxbuild.stages.repair import RepairFacts
from onnxbuild.stages.tune import TuneFacts
from onnxbuild.stages.validate import ValidateFacts
from onnxbuild.store.traces import Host, Trace
from onnxbuild.targets.deliver import compiled_file, tied_to
from onnxbuild.targets.judge import Judge, model_facts
from onnxbuild.targets.locking import beside_other_machines, describe_target, gate_key, is_measured

F = TypeVar("F", bound=msgspec.Struct)
Outcomes = Mapping[str, Outcome]


def collect(
    recipe: Recipe,
    plan: Plan,
    outcomes: Outcomes,
    judge: Judge,
    root: Path,
    output: str,
    history: History | None = None,
) -> ReportFacts:
    """Return the facts of one recipe's page.

    `plan` covers all of the recipe's targets; `outcomes` are this run's, and for targets that were not asked for
    what their traces say. `output` is the delivery folder relative to the project, `history` what git has of locks.
    """
    targets = [t for t in plan.targets if t.target.recipe == recipe.name]
    names = {t.target.name for t in targets}
    lock = read_lock(root, lock_path(recipe.file), Problems())
    content = (root / recipe.file).read_bytes()
    text, history = digest_bytes(content), history or History()
    actions = [a for a in plan.actions.values() if names & set(a.targets)]
    return ReportFacts(
        name=recipe.name,
        file=recipe.file,
        description=recipe.description,
        text=content.decode("utf-8", "replace"),
        version=__version__,
        targets=tuple(
            _accepted(_target(t, plan, outcomes, judge, root, output, history), t, plan, outcomes, judge, lock, text)
            for t in targets
        ),
        rewritten=tuple(_rewritten(content.decode("utf-8", "replace"), text, lock, targets, history)),
        actions=tuple(_action(a, outcomes) for a in actions),
        provenance=_provenance(targets, actions, outcomes, root),
        volatile=RunFacts(
            actions={a.name: _action_run(a, outcomes) for a in actions},
            restored={t.target.name: found for t in targets if (found := _restored(t, outcomes))},
        ),
    )


def _rewritten(
    now: str, digest: str, lock: Lock, targets: list[TargetPlan], history: History
) -> Iterator[RewrittenFacts]:
    """Yield how the recipe's text differs from each of those with which variants were accepted."""
    accepted: dict[str, list[str]] = {}
    for plan in targets:
        if (entry := lock.get(plan.target.variant)) is not None and entry.recipe not in ("", digest):
            accepted.setdefault(entry.recipe, []).append(plan.target.variant)
    for other, variants in accepted.items():
        then = history.texts.get(other)
        lines = None if then is None else tuple(changed_lines(then, now))
        yield RewrittenFacts(variants=tuple(variants), lines=lines)


def _lines(target: Target) -> tuple[int, ...]:
    return tuple(sorted({place.line for place in target.places.values() if place.file == target.file}))


def _limit_lines(target: Target, gates: tuple[GateResult, ...]) -> dict[str, int]:
    found = ((gate_key(gate), limit_place(gate, target.places)) for gate in gates)
    return {key: place.line for key, place in found if place is not None and place.file == target.file}


def _target(
    plan: TargetPlan, whole: Plan, outcomes: Outcomes, judge: Judge, root: Path, output: str, history: History
) -> TargetFacts:
    target = plan.target
    judgement = judge.judgement(target.name)
    folder = f"{output}/{target.recipe}/{target.variant}"
    last = _trace(plan.models[-1].ref.action, outcomes)
    package = _trace(plan.package, outcomes)
    failed = judgement is not None and judgement.verdict is Verdict.FAILED
    return TargetFacts(
        name=target.name,
        variant=target.variant,
        declared=DeclaredFacts(
            inputs=target.inputs,
            outputs=target.outputs,
            axes=target.dynamic_axes,
            opset=target.opset,
            ir_version=target.ir_version,
            tolerances={p.name: p.tolerance for p in target.providers},
            metadata=target.package.metadata,
        ),
        verdict=None if judgement is None else judgement.verdict,
        gates=() if judgement is None else judgement.gates,
        steps=_steps(plan, whole, outcomes),
        placements=tuple(_placements(plan, outcomes)),
        compiled=tuple(_compiled(plan, outcomes, is_delivered=package is not None and not failed)),
        data=_facts(plan.evaluation, outcomes, DataFacts),
        reference=_facts(plan.reference, outcomes, ReferenceFacts),
        output=f"{folder}/model.onnx" if package is not None and not failed else None,
        sha256=last.outputs["model"].files["model.onnx"].digest if last is not None else None,
        bytes=model_facts(last).bytes if last is not None else None,
        benchmarks=_benchmarks(plan, outcomes),
        versus=_versus(plan, outcomes),
        tuning=_facts(plan.tune, outcomes, TuneFacts) if plan.tune is not None else None,
        stale=failed and (root / folder / "model.onnx").exists(),
        failed_action=None if judgement is None else judgement.failed_action,
        tied_to=tied_to(filter(None, (_trace(name, outcomes) for name in (*_makers(plan), plan.package)))),
        blame=_without_times(_blame(plan, outcomes)),
        history=history.of(target.file, target.variant),
        accepted_on=history.day_of(target.file, target.variant),
        lines=_lines(target),
        limit_lines={} if judgement is None else _limit_lines(target, judgement.gates),
    )


def _accepted(
    facts: TargetFacts, target: TargetPlan, plan: Plan, outcomes: Outcomes, judge: Judge, lock: Lock, text: str
) -> TargetFacts:
    """Return the facts with how they differ from what was accepted; `text` is the digest of the recipe's."""
    accepted, judgement = lock.get(target.target.variant), judge.judgement(target.target.name)
    if accepted is None or judgement is None or not is_measured(target, outcomes):
        return msgspec.structs.replace(facts, accepted=accepted)
    failed = {gate.gate for gate in judgement.gates if gate.verdict is Verdict.FAILED}
    waived = {gate: reason for gate, reason in accepted.waivers.items() if gate in failed}
    now = describe_target(plan, target, judgement, outcomes, waived, text)
    now = beside_other_machines(now, target.target, accepted)
    changes = compare_entries(target.target.variant, accepted, now)
    return msgspec.structs.replace(facts, accepted=accepted, changes=changes)


def _benchmarks(plan: TargetPlan, outcomes: Outcomes) -> tuple[BenchmarkedProvider, ...]:
    found = {provider: _facts(action, outcomes, BenchmarkFacts) for provider, action in plan.benchmarks.items()}
    return tuple(BenchmarkedProvider(provider, facts) for provider, facts in found.items() if facts is not None)


def _versus(plan: TargetPlan, outcomes: Outcomes) -> VersusFacts | None:
    facts = _facts(plan.versus, outcomes, BenchmarkFacts) if plan.versus is not None else None
    gate = plan.target.speed
    if facts is None or facts.versus is None or gate is None:
        return None
    return VersusFacts(
        other=gate.bound.of or "", provider=gate.provider, versus=facts.versus, surroundings=facts.surroundings
    )


def _blame(plan: TargetPlan, outcomes: Outcomes) -> BlameFacts | None:
    return _facts(plan.blame, outcomes, BlameFacts) if plan.blame is not None else None


def _without_times(facts: BlameFacts | None) -> BlameFacts | None:
    """Return the ranking without what differs from run to run."""
    if facts is None:
        return None
    culprits = tuple(msgspec.structs.replace(culprit, time=None) for culprit in facts.culprits)
    return msgspec.structs.replace(facts, culprits=culprits)


def _restored(plan: TargetPlan, outcomes: Outcomes) -> dict[str, float]:
    facts = _blame(plan, outcomes)
    return {c.layers[0]: c.time for c in facts.culprits if c.time is not None} if facts is not None else {}


def _steps(plan: TargetPlan, whole: Plan, outcomes: Outcomes) -> tuple[StepFacts, ...]:
    steps = []
    for number, model in enumerate(plan.models):
        action = whole.actions[model.ref.action]
        if _trace(action.name, outcomes) is None:
            continue
        accuracy = []
        for provider, validations in plan.validations.items():
            facts = _facts(validations[number], outcomes, ValidateFacts)
            if facts is not None and facts.absent is None:
                accuracy.append(ProviderAccuracy(provider, facts))
        steps.append(
            StepFacts(
                label=model.label,
                action=action.name,
                title=title_action(action),
                export=_facts(action.name, outcomes, ExportFacts)
                if action.stage in ("export", "canonicalize")
                else None,
                optimize=_facts(action.name, outcomes, OptimizeFacts) if action.stage == "optimize" else None,
                prune=_facts(action.name, outcomes, PruneFacts) if action.stage == "prune" else None,
                quantize=_facts(action.name, outcomes, QuantizeFacts) if action.stage == "quantize" else None,
                auto=_facts(action.name, outcomes, AutoFacts) if action.stage == "auto" else None,
                repair=_facts(action.name, outcomes, RepairFacts) if action.stage == "repair" else None,
                accuracy=tuple(accuracy),
                limits=action.params.limits if isinstance(action.params, OptimizeParams) else {},
            )
        )
    if (package := _facts(plan.package, outcomes, PackageFacts)) is not None:
        steps.append(StepFacts(label="package", action=plan.package, title="files to deliver", package=package))
    return tuple(steps)


def _makers(plan: TargetPlan) -> Iterator[str]:
    return (model.ref.action for model in plan.models)


def _placements(plan: TargetPlan, outcomes: Outcomes) -> Iterator[ProviderPlacement]:
    for provider, action in plan.placements.items():
        facts = _facts(action, outcomes, PlaceFacts)
        if facts is not None:
            timeless = msgspec.structs.replace(facts.profile, time={}) if facts.profile is not None else None
            yield ProviderPlacement(provider, msgspec.structs.replace(facts, profile=timeless))


def _compiled(plan: TargetPlan, outcomes: Outcomes, *, is_delivered: bool) -> Iterator[CompiledModel]:
    for provider, action in plan.compiled.items():
        facts = _facts(action, outcomes, CompileFacts)
        if facts is not None:
            file = compiled_file(provider) if is_delivered and facts.absent is None else None
            yield CompiledModel(provider, facts, file)


def _time(action: Action, outcomes: Outcomes) -> dict[str, float]:
    facts = _facts(action.name, outcomes, PlaceFacts) if action.stage == "place" else None
    return facts.profile.time if facts is not None and facts.profile is not None else {}


def _action(action: Action, outcomes: Outcomes) -> ActionFacts:
    trace = _trace(action.name, outcomes)
    outcome = outcomes.get(action.name)
    failure = outcome.failure if outcome is not None else None
    upstream = [_trace(name, outcomes) for name in dict.fromkeys(ref.action for ref in action.inputs.values())]
    packages = {} if trace is None else _packages(trace)
    return ActionFacts(
        name=action.name,
        stage=action.stage,
        title=title_action(action),
        targets=action.targets,
        inputs=tuple(dict.fromkeys(ref.action for ref in action.inputs.values())),
        done=trace is not None,
        artifacts=tuple(
            ArtifactFacts(label=label, digest=artifact.digest, bytes=artifact.size)
            for label, artifact in (trace.outputs if trace is not None else {}).items()
        ),
        bytes_in=sum(a.size for t in upstream if t is not None for a in t.outputs.values()) if upstream else None,
        bytes_out=sum(a.size for a in trace.outputs.values()) if trace is not None and trace.outputs else None,
        packages=packages,
        warnings=trace.warnings if trace is not None else (),
        command=f"onnxbuild make {action.targets[0]} --rerun {action.name}" if action.targets else None,
        failure=failure,
    )


def _action_run(action: Action, outcomes: Outcomes) -> ActionRun:
    outcome, trace = outcomes.get(action.name), _trace(action.name, outcomes)
    return ActionRun(
        decision=outcome.decision.value if outcome is not None else "not asked for",
        status=outcome.status.value if outcome is not None else None,
        reasons=trace.reasons if trace is not None else (),
        seconds=trace.seconds if trace is not None else None,
        started=outcome.started if outcome is not None else None,
        made=trace.made if trace is not None else None,
        host=trace.host.cpu if trace is not None else None,
        key=trace.key if trace is not None else None,
        time=_time(action, outcomes),
    )


def _provenance(targets: list[TargetPlan], actions: list[Action], outcomes: Outcomes, root: Path) -> ProvenanceFacts:
    traces = [t for a in actions if (t := _trace(a.name, outcomes)) is not None]
    commit, dirty = git_state(root)
    versions: dict[str, str] = {}
    files: dict[str, FileFacts] = {}
    for trace in traces:
        versions |= _packages(trace)
        for line in trace.manifest:
            if line.label.startswith("file "):
                files[line.note] = _file(line.label.removeprefix("file "), line.note, line.value, root)
        for found in trace.discovered:
            if found.kind == "file":
                files.setdefault(found.name, _file("read by user code", found.name, found.digest, root))
    measured = [trace for trace in traces if any(line.label == "hardware" for line in trace.manifest)]
    host = next((trace.host for trace in (*measured, *traces)), None)
    return ProvenanceFacts(
        commit=commit,
        dirty=dirty,
        files=tuple(files[name] for name in sorted(files)),
        data=_data_sets(targets, outcomes),
        seeds=_seeds(targets),
        versions=dict(sorted(versions.items())),
        hardware={} if host is None else _hardware(host),
    )


def _hardware(host: Host) -> dict[str, str]:
    instructions = {"instruction sets": host.instructions} if host.instructions else {}
    return {"cpu": host.cpu, **instructions, "system": f"{host.system} {host.machine}", "python": host.python}


def _file(label: str, name: str, digest: str, root: Path) -> FileFacts:
    path = root / name
    return FileFacts(label=label, path=name, sha256=digest, bytes=path.stat().st_size if path.is_file() else None)


def _data_sets(targets: list[TargetPlan], outcomes: Outcomes) -> tuple[DataSetFacts, ...]:
    found: dict[str, DataSetFacts] = {}
    for plan in targets:
        roles = [
            ("evaluation", plan.evaluation, plan.target.evaluation),
            ("calibration", plan.calibration, plan.target.calibration),
        ]
        for role, action, declared in roles:
            if action is None or action in found or (facts := _facts(action, outcomes, DataFacts)) is None:
                continue
            match declared.data if declared is not None else RandomData():
                case FileData(path=path):
                    source = path
                case LoaderData(function=function):
                    source = f"{function.file}:{function.name}"
                case RandomData(seed=seed, samples=samples):
                    source = f"random, seed {seed}, {samples} samples"
            found[action] = DataSetFacts(role=role, source=source, facts=facts)
    return tuple(found.values())


def _seeds(targets: list[TargetPlan]) -> dict[str, int]:
    """Return the seeds that a build goes by: of every process, and of generated data, by variant where they differ."""
    found: dict[str, dict[str, int]] = {}
    for plan in targets:
        for role, declared in (("evaluation", plan.target.evaluation), ("calibration", plan.target.calibration)):
            if declared is not None and isinstance(declared.data, RandomData):
                found.setdefault(f"{role} data", {})[plan.target.variant] = declared.data.seed
    seeds = {"processes of stages": 0}
    for what, by_variant in found.items():
        if len({*by_variant.values()}) == 1:
            seeds[what] = next(iter(by_variant.values()))
        else:
            seeds.update((f"{what} of {variant}", seed) for variant, seed in by_variant.items())
    return seeds


def _packages(trace: Trace) -> dict[str, str]:
    return {
        line.label.removeprefix("package "): line.value for line in trace.manifest if line.label.startswith("package ")
    }


def _trace(action: str, outcomes: Outcomes) -> Trace | None:
    outcome = outcomes.get(action)
    return outcome.trace if outcome is not None and outcome.status is Status.OK else None


def _facts(action: str, outcomes: Outcomes, kind: type[F]) -> F | None:
    trace = _trace(action, outcomes)
    return None if trace is None else msgspec.json.decode(trace.facts, type=kind)


def git_state(root: Path) -> tuple[str | None, bool]:
    """Return the project's commit and whether tracked files differ from it; (None, False) outside a repository."""
    try:
        commit = git(root, "rev-parse", "HEAD", seconds=10)
        state = git(root, "status", "--porcelain", "--untracked-files=no", ".", seconds=10)
    except GitError:
        return None, False
    return commit.decode().strip(), bool(state.strip())
