"""From targets to a plan: which actions each target needs, shared where they are equal; pure, reads no file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from onnxbuild.plan.action import Action, Plan, Ref, StageModel, TargetPlan
from onnxbuild.plan.drafts import Drafts, name_actions
from onnxbuild.proof.gates import required_within
from onnxbuild.proof.timing import TimeLimit
from onnxbuild.recipe.providers import COMPILING
from onnxbuild.recipe.types import (
    Auto,
    Benchmark,
    Choice,
    CustomPass,
    DataSource,
    FileData,
    Framework,
    LoaderData,
    OutputTolerance,
    Provider,
    Quantization,
    RandomData,
    Recipe,
    Source,
    Target,
    Tolerance,
)
from onnxbuild.stages.auto import AutoParams
from onnxbuild.stages.benchmark import BenchmarkParams
from onnxbuild.stages.blame import BlameParams
from onnxbuild.stages.compile import CompileParams
from onnxbuild.stages.data import DataParams
from onnxbuild.stages.export import ExportParams
from onnxbuild.stages.optimize import OptimizeParams
from onnxbuild.stages.package import PackageParams
from onnxbuild.stages.place import PlaceParams
from onnxbuild.stages.proving import Proof
from onnxbuild.stages.prune import PruneParams
from onnxbuild.stages.quantize import QuantizeParams
from onnxbuild.stages.reference import ReferenceParams
from onnxbuild.stages.repair import RepairParams
from onnxbuild.stages.table import STAGES
from onnxbuild.stages.tune import TuneParams
from onnxbuild.stages.validate import ValidateParams, Within

TUNE_SECONDS = 0.25
"""What one side of a comparison takes at most while a session is tuned: there are about eight."""

INEXACT = ("prune", "quantize", "auto", "repair")
"""Stages that change numbers by design."""


def build_plan(recipes: Sequence[Recipe], selected: Iterable[str]) -> Plan:
    """Return the plan for the targets of `recipes` whose names are `selected`.

    All targets are planned, so that an action has the same name whichever are selected; then only what the selected
    ones need is kept. A target that only a ratio gate of a selected one refers to comes along as support.
    """
    drafts = Drafts()
    plans: list[TargetPlan] = []
    for recipe in recipes:
        limits = _step_limits(recipe)
        plans += _compare(drafts, [_plan_target(drafts, target, limits) for target in recipe.targets])
    return _select(name_actions(drafts, plans), set(selected))


def _select(plan: Plan, selected: set[str]) -> Plan:
    support = _referred(plan, selected) - selected
    targets = [p for p in plan.targets if p.target.name in selected]
    targets += [replace(p, support=True) for p in plan.targets if p.target.name in support]
    wanted: set[str] = set()
    stack = [name for p in targets for name in _needs(p)]
    while stack:
        name = stack.pop()
        if name not in wanted:
            wanted.add(name)
            stack.extend(plan.actions[name].upstream)
    return Plan(
        {name: action for name, action in plan.actions.items() if name in wanted},
        tuple(targets),
        plan.groups,
        {name: action for name, action in plan.explaining.items() if wanted.issuperset(action.upstream)},
    )


def _referred(plan: Plan, selected: set[str]) -> set[str]:
    """Return the targets that ratio gates of the selected ones, or of those they refer to, name."""
    named = {p.target.name: [f"{p.target.recipe}:{of}" for of in _references(p.target)] for p in plan.targets}
    found: set[str] = set()
    stack = [*selected]
    while stack:
        new = [name for name in named.get(stack.pop(), ()) if name not in found]
        found.update(new)
        stack += new
    return found


def _references(target: Target) -> list[str]:
    bounds = [target.size, target.speed.bound if target.speed is not None else None]
    return [bound.of for bound in bounds if bound is not None and bound.of is not None]


def _needs(plan: TargetPlan) -> tuple[str, ...]:
    return plan.measurements if plan.support else (plan.package, *plan.measurements)


def _plan_target(drafts: Drafts, target: Target, limits: dict[str, OutputTolerance]) -> TargetPlan:
    several = target.calibration is not None
    evaluation = _add_data(drafts, target, "data.1" if several else "data", *_evaluation_data(target))
    calibration = None
    if target.calibration is not None:
        calibration = _add_data(drafts, target, "data.2", target.calibration.data, target.calibration.samples, None)
    probe = calibration if target.evaluation is None and calibration is not None else evaluation
    calls = _quantizer_calls(target, probe, calibration)
    models = _add_models(drafts, target, limits, probe, calls)
    reference = drafts.add(
        target,
        "reference",
        _action(
            target,
            "reference",
            ReferenceParams(source=_keyed_source(target.source), inputs=target.inputs, outputs=target.outputs),
            {"calls": Ref(evaluation, "inputs"), "edges": Ref(evaluation, "edges")},
            _source_files(target),
        ),
    )
    proofs = _proofs(target, evaluation, reference)
    if target.quantization is not None and target.quantization.repair:
        models = (*models, _add_repair(drafts, target, models, calls, proofs))
    if target.auto is not None:
        models = (*models, _add_auto(drafts, target, target.auto, models[-1], calls, proofs))
    tune = _add_tune(drafts, target, models[-1].ref, evaluation)
    tuned = {"session": Ref(tune, "session")} if tune is not None else {}
    compiled = _add_compiled(drafts, target, {"model": models[-1].ref, **tuned})
    validations = _add_validations(drafts, target, models, evaluation, reference, tuned, compiled)
    measured = {"model": models[-1].ref, "calls": Ref(evaluation, "inputs"), **tuned}
    placements = {p.name: drafts.add(target, f"place@{p.name}", _place(target, p, measured)) for p in target.providers}
    benchmarks = _add_benchmarks(drafts, target, measured, compiled)
    blame = _add_blame(drafts, target, models, calls, proofs)
    validated = (name for names in validations.values() for name in names)
    after = tuple(dict.fromkeys([*validated, *placements.values(), *benchmarks.values()]))
    formats = tuple(name for name in target.package.formats if name != "compiled")  # that is a stage of its own
    other = {"calls": Ref(evaluation, "inputs")} if "ort" in formats else {}
    package = drafts.add(
        target,
        "package",
        replace(
            _action(
                target,
                "package",
                PackageParams(
                    package=msgspec.structs.replace(target.package, formats=formats),
                    session=target.session,
                    inputs=target.inputs,
                    outputs=target.outputs,
                    axes=target.dynamic_axes,
                    opset=target.opset,
                    ir_version=target.ir_version,
                ),
                {"model": models[-1].ref, **tuned, **other},
            ),
            after=after,
        ),
    )
    return TargetPlan(
        target,
        models,
        validations,
        evaluation,
        reference,
        package,
        calibration,
        blame,
        benchmarks=benchmarks,
        tune=tune,
        placements=placements,
        compiled=compiled,
    )


def _add_models(
    drafts: Drafts, target: Target, limits: dict[str, OutputTolerance], probe: str, calls: Mapping[str, Ref]
) -> tuple[StageModel, ...]:
    stage = "canonicalize" if target.source.framework is Framework.ONNX else "export"
    export = drafts.add(target, stage, _export(target, stage))
    models = [StageModel(stage, Ref(export, "model"))]

    def step(label: str, stage: str, params: msgspec.Struct, **extra: Ref) -> None:
        files = {}
        if isinstance(params, OptimizeParams) and isinstance(params.step, CustomPass):
            files["custom"] = _in_project(target, params.step.function.file)
        action = _action(target, stage, params, {"model": models[-1].ref, **extra}, files)
        models.append(StageModel(label, Ref(drafts.add(target, label, action), "model")))

    for number, entry in enumerate(target.passes, start=1):
        label = "optimize" if len(target.passes) == 1 else f"optimize.{number}"
        params = OptimizeParams(
            step=entry, opset=target.opset, ir_version=target.ir_version, limits=limits, guard=target.guard
        )
        step(label, "optimize", params, probe=Ref(probe, "probe"), edges=Ref(probe, "edges"))
    if target.pruning is not None:
        step("prune", "prune", PruneParams(pruning=target.pruning))
    if target.quantization is not None:
        wanted = QuantizeParams(
            quantization=_without_search(target.quantization),
            mends=target.quantization.repair,
            is_opset_free=target.quantization.repair and target.opset is None,
        )
        step("quantize", "quantize", wanted, **calls)
    return tuple(models)


def _quantizer_calls(target: Target, probe: str, calibration: str | None) -> dict[str, Ref]:
    """Return the calls that a quantiser needs: to calibrate, and for float16 to tell how large values become."""
    wanted = target.auto.candidates if target.auto is not None else ()
    modes = {one.mode for one in (*wanted, *([target.quantization] if target.quantization is not None else []))}
    if calibration is not None and not modes.isdisjoint(("static", "float16")):
        return {"calibration": Ref(calibration, "inputs")}
    return {"calibration": Ref(probe, "probe")} if "float16" in modes else {}


@dataclass(frozen=True)
class _Proofs:
    """What a search measures a target with: against what, on what, and whether that is random."""

    proofs: dict[str, Proof]
    inputs: dict[str, Ref]
    files: dict[str, str]
    generated: bool


def _proofs(target: Target, evaluation: str, reference: str) -> _Proofs:
    inputs, files = _measured(target, evaluation, reference)
    proofs = {
        provider.name: Proof(measuring=_measuring(target, provider.name), tolerance=_unworded(provider.tolerance))
        for provider in target.providers
    }
    generated = target.evaluation is None or isinstance(target.evaluation.data, RandomData)
    return _Proofs(proofs, inputs, files, generated)


def _unworded(tolerance: Tolerance) -> Tolerance:
    if tolerance.metric is None:
        return tolerance
    return msgspec.structs.replace(tolerance, metric=msgspec.structs.replace(tolerance.metric, text=""))


def _without_search(quantization: Quantization) -> Quantization:
    return msgspec.structs.replace(quantization, repair=False)


def _edges(target: Target, proofs: _Proofs) -> dict[str, Ref]:
    """Return the calls at the edges of dynamic axes, and the source's outputs on them."""
    if not target.dynamic_axes:
        return {}
    return {
        "edges": Ref(proofs.inputs["calls"].action, "edges"),
        "edges_reference": Ref(proofs.inputs["reference"].action, "edges"),
    }


def _add_repair(
    drafts: Drafts, target: Target, models: Sequence[StageModel], calls: Mapping[str, Ref], proofs: _Proofs
) -> StageModel:
    assert target.quantization is not None
    inputs = {"model": models[-2].ref, "quantized": models[-1].ref, **proofs.inputs, **calls, **_edges(target, proofs)}
    params = RepairParams(
        quantization=_without_search(target.quantization),
        proofs=proofs.proofs,
        generated=proofs.generated,
        is_opset_free=target.opset is None,
    )
    action = replace(_action(target, "repair", params, inputs, proofs.files), locked=target.locked)
    return StageModel("repair", Ref(drafts.add(target, "repair", action), "model"))


def _add_auto(
    drafts: Drafts, target: Target, auto: Auto, model: StageModel, calls: Mapping[str, Ref], proofs: _Proofs
) -> StageModel:
    params = AutoParams(
        candidates=auto.candidates,
        objective=auto.objective,
        provider=auto.provider,
        proofs=proofs.proofs,
        generated=proofs.generated,
        mends=auto.repair,
        is_opset_free=auto.repair and target.opset is None,
    )
    inputs = {"model": model.ref, **proofs.inputs, **calls, **_edges(target, proofs)}
    action = replace(_action(target, "auto", params, inputs, proofs.files), locked=target.locked)
    return StageModel("auto", Ref(drafts.add(target, "auto", action), "model"))


def _add_blame(
    drafts: Drafts, target: Target, models: Sequence[StageModel], calls: Mapping[str, Ref], proofs: _Proofs
) -> str | None:
    """Add what ranks the layers of a target that loses something on purpose; None for any other."""
    lossy = [number for number, model in enumerate(models) if model.label in ("prune", "quantize", "auto")]
    if not lossy:
        return None
    inputs = {
        "model": models[lossy[0] - 1].ref,
        "origins": Ref(models[0].ref.action, "origins"),
        **proofs.inputs,
        **calls,
    }
    if models[-1].label in ("repair", "auto"):
        inputs["choice"] = Ref(models[-1].ref.action, "choice")
    quantization = _without_search(target.quantization) if target.quantization is not None else None
    mends = any(wanted is not None and wanted.repair for wanted in (target.quantization, target.auto))
    params = BlameParams(
        pruning=target.pruning,
        quantization=quantization,
        candidates=target.auto.candidates if target.auto is not None else (),
        proofs=proofs.proofs,
        generated=proofs.generated,
        mends=mends,
        is_opset_free=target.opset is None and mends,
    )
    return drafts.add(target, "blame", _action(target, "blame", params, inputs, proofs.files))


def _export(target: Target, stage: str) -> Action:
    params = ExportParams(
        source=_keyed_source(target.source),
        inputs=target.inputs,
        outputs=target.outputs,
        axes=target.dynamic_axes,
        opset=target.opset,
        ir_version=target.ir_version,
    )
    return _action(target, stage, params, {}, _source_files(target))


def _add_validations(
    drafts: Drafts,
    target: Target,
    models: Sequence[StageModel],
    evaluation: str,
    reference: str,
    tuned: dict[str, Ref],
    compiled: Mapping[str, str],
) -> dict[str, tuple[str, ...]]:
    """Add a validation of each model on each provider; only the delivered one's is in the session that was tuned.

    Where a compiled model is delivered for the provider, that is the one.
    """
    validations = {}
    exact = _last_exact(drafts, models)
    for provider in target.providers:
        names = []
        for number, model in enumerate(models):
            last = model is models[-1]
            label = f"validate@{provider.name}" if last else f"validate@{provider.name}.{number + 1}"
            ref = _compiled_or(model.ref, compiled, provider.name) if last else model.ref
            action = _validate(target, provider.name, ref, evaluation, reference)
            if target.dynamic_axes and (last or number == exact):
                edges = {"edges": Ref(evaluation, "edges"), "edges_reference": Ref(reference, "edges")}
                action = replace(action, inputs={**action.inputs, **edges})
            if last:
                action = replace(action, inputs={**action.inputs, **tuned})
            names.append(drafts.add(target, label, action))
        validations[provider.name] = tuple(names)
    return validations


def _last_exact(drafts: Drafts, models: Sequence[StageModel]) -> int:
    """Return the position of the last model before a step that changes numbers by design: it must be near the source.

    That one and the delivered one are tried at the edges of dynamic axes; the others only on the data, which is cheap.
    """
    stages = [drafts.actions[model.ref.action].stage for model in models]
    return next((i for i, stage in enumerate(stages) if stage in INEXACT), len(stages)) - 1


def _validate(target: Target, provider: str, model: Ref, evaluation: str, reference: str) -> Action:
    inputs, files = _measured(target, evaluation, reference)
    return _action(target, "validate", _measuring(target, provider), {"model": model, **inputs}, files)


def _measuring(target: Target, provider: str) -> ValidateParams:
    wanted = target.evaluation
    metric = wanted.metric if wanted is not None else None
    own = next(p for p in target.providers if p.name == provider)
    return ValidateParams(
        provider=provider,
        options=own.options,
        session=target.session,
        metric=metric,
        output=(wanted.output if wanted and wanted.output else target.outputs[0].name) if metric else None,
        axis=wanted.axis if wanted else -1,
        average=wanted.average if wanted else None,
        k=wanted.k if wanted else 5,
        within=tuple(
            Within(output=name, atol=atol, rtol=rtol)
            for name, limit in sorted(own.tolerance.outputs.items())
            for atol, rtol in required_within(limit)
        ),
    )


def _measured(target: Target, evaluation: str, reference: str) -> tuple[dict[str, Ref], dict[str, str]]:
    """Return the inputs and files that measuring a model takes, besides the model."""
    metric = target.evaluation.metric if target.evaluation is not None else None
    inputs = {"calls": Ref(evaluation, "inputs"), "reference": Ref(reference, "outputs")}
    files = {}
    if metric is not None:
        inputs["labels"] = Ref(evaluation, "labels")
        if metric.function is not None:
            files["metric"] = _in_project(target, metric.function.file)
    return inputs, files


def _add_tune(drafts: Drafts, target: Target, model: Ref, evaluation: str) -> str | None:
    """Add the choice of the session on the first provider, where the recipe leaves it open."""
    if target.tune is None:
        return None
    provider, seconds = target.providers[0], target.benchmark.min_seconds if target.benchmark else TUNE_SECONDS
    params = TuneParams(
        provider=provider.name,
        options=provider.options,
        objective=target.tune.objective,
        session=target.session,
        inputs=target.inputs,
        axes=target.dynamic_axes,
        batch=target.tune.batch,
        min_seconds=min(seconds, TUNE_SECONDS),
    )
    inputs = {"model": model, "calls": Ref(evaluation, "inputs")}
    action = _action(target, "tune", params, inputs)
    action = replace(action, locked=Choice(sessions=tuple(target.sessions.items())))
    return drafts.add(target, f"tune@{provider.name}", action)


def _add_compiled(drafts: Drafts, target: Target, inputs: dict[str, Ref]) -> dict[str, str]:
    """Have each provider that compiles models ahead do it, where the package is to hold what it compiled."""
    if "compiled" not in target.package.formats:
        return {}
    return {
        provider.name: drafts.add(
            target,
            f"compile@{provider.name}",
            _action(
                target,
                "compile",
                CompileParams(
                    provider=provider.name, options=provider.options, session=target.session, axes=target.dynamic_axes
                ),
                inputs,
            ),
        )
        for provider in target.providers
        if provider.name in COMPILING
    }


def _compiled_or(model: Ref, compiled: Mapping[str, str], provider: str) -> Ref:
    """Return the model that is delivered for a provider: what it compiled, else the one for all."""
    return Ref(compiled[provider], "compiled") if provider in compiled else model


def _add_benchmarks(
    drafts: Drafts, target: Target, inputs: dict[str, Ref], compiled: Mapping[str, str]
) -> dict[str, str]:
    """Add a benchmark of the delivered model on each provider, where the recipe or a gate asks for it.

    A compiled model is measured with the plain one beside it, because the time to open is what it is made for.
    """
    if target.benchmark is None:
        return {}
    added = {}
    for provider in target.providers:
        gates = [gate for gate in target.latency if gate.provider == provider.name]
        limits = [TimeLimit(measure=g.percentile, batch=g.batch, value=g.bound.value) for g in gates]
        if target.memory is not None and target.memory.provider == provider.name:
            limits.append(TimeLimit(measure="memory", batch=0, value=target.memory.bound.value))
        batches = tuple(dict.fromkeys([*target.benchmark.batch, *(gate.batch for gate in gates)]))
        params = _benchmark_params(target, target.benchmark, provider.name, batches, limits)
        own = dict(inputs)
        if provider.name in compiled:
            own |= {"model": _compiled_or(inputs["model"], compiled, provider.name), "plain": inputs["model"]}
        added[provider.name] = drafts.add(
            target, f"benchmark@{provider.name}", _action(target, "benchmark", params, own)
        )
    return added


def _compare(drafts: Drafts, plans: Sequence[TargetPlan]) -> Iterator[TargetPlan]:
    """Add to each target of a recipe with a speed gate the benchmark in turns with the variant that it names."""
    by_variant = {plan.target.variant: plan for plan in plans}
    for plan in plans:
        target, gate, benchmark = plan.target, plan.target.speed, plan.target.benchmark
        other = by_variant.get(gate.bound.of or "") if gate is not None else None
        if gate is None or benchmark is None or other is None:
            yield plan
            continue
        limits = [TimeLimit(measure="speed", batch=gate.batch, value=gate.bound.value)]
        params = _benchmark_params(target, benchmark, gate.provider, (gate.batch,), limits)
        params = msgspec.structs.replace(params, memory=False, other_session=other.target.session)
        inputs = {
            "model": _compiled_or(plan.models[-1].ref, plan.compiled, gate.provider),
            "other": _compiled_or(other.models[-1].ref, other.compiled, gate.provider),
            "calls": Ref(plan.evaluation, "inputs"),
            **({"session": Ref(plan.tune, "session")} if plan.tune is not None else {}),
            **({"other_session": Ref(other.tune, "session")} if other.tune is not None else {}),
        }
        label = f"benchmark@{gate.provider}.1"
        yield replace(plan, versus=drafts.add(target, label, _action(target, "benchmark", params, inputs)))


def _benchmark_params(
    target: Target, benchmark: Benchmark, provider: str, batches: tuple[int, ...], limits: Sequence[TimeLimit]
) -> BenchmarkParams:
    return BenchmarkParams(
        provider=provider,
        options=next((each.options for each in target.providers if each.name == provider), {}),
        session=target.session,
        inputs=target.inputs,
        axes=target.dynamic_axes,
        batches=batches,
        min_seconds=benchmark.min_seconds,
        memory=benchmark.memory,
        limits=tuple(limits),
    )


def _place(target: Target, provider: Provider, inputs: dict[str, Ref]) -> Action:
    params = PlaceParams(provider=provider.name, options=provider.options, session=target.session)
    return _action(target, "place", params, inputs)


def _evaluation_data(target: Target) -> tuple[DataSource, int | None, str | None]:
    if target.evaluation is None:
        return RandomData(), None, None
    wanted = target.evaluation
    return wanted.data, wanted.samples, wanted.labels if wanted.metric is not None else None


def _add_data(
    drafts: Drafts, target: Target, label: str, data: DataSource, samples: int | None, labels: str | None
) -> str:
    params = DataParams(data=data, inputs=target.inputs, axes=target.dynamic_axes, samples=samples, labels=labels)
    files = {}
    if isinstance(data, FileData):
        files["data"] = _in_project(target, data.path)
    elif isinstance(data, LoaderData):
        files["loader"] = _in_project(target, data.function.file)
    return drafts.add(target, label, _action(target, "data", params, {}, files))


def _step_limits(recipe: Recipe) -> dict[str, OutputTolerance]:
    """Return a tenth of the tightest tolerance that any variant names for an output; see proof.limits.step_limit.

    One answer for the recipe, so that variants share the passes they have in common.
    """
    limits = {}
    for output in {output.name: None for target in recipe.targets for output in target.outputs}:
        named = [
            tolerance
            for target in recipe.targets
            if (tolerance := target.tolerance.outputs.get(output)) is not None
            and not (tolerance.atol is None and tolerance.rtol is None)
        ]
        if named:
            limits[output] = OutputTolerance(
                atol=min(tolerance.atol or 0.0 for tolerance in named) / 10,
                rtol=min(tolerance.rtol or 0.0 for tolerance in named) / 10,
            )
    return limits


def _action(
    target: Target,
    stage: str,
    params: msgspec.Struct,
    inputs: dict[str, Ref],
    files: dict[str, str] | None = None,
) -> Action:
    runs_user_code = STAGES[stage].runs_user_code(params)
    return Action(
        name="",
        stage=stage,
        params=params,
        inputs=inputs,
        files=files or {},
        folder=target.folder,
        env=target.source.env if runs_user_code else (),
        reads=target.source.reads if runs_user_code else (),
        strict_reads=target.strict_reads and runs_user_code,
    )


def _keyed_source(source: Source) -> Source:
    return msgspec.structs.replace(source, sha256=None, reads=(), env=())


def _source_files(target: Target) -> dict[str, str]:
    source, files = target.source, {}
    if source.factory is not None:
        files["factory"] = _in_project(target, source.factory.file)
    if source.weights is not None:
        files["weights"] = _in_project(target, source.weights)
    if source.path is not None:
        files["path"] = _in_project(target, source.path)
    return files


def _in_project(target: Target, path: str) -> str:
    return f"{target.folder}/{path}" if target.folder else path
