"""From targets to a plan: which actions each target needs, shared where they are equal; pure, reads no file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec

from onnxbuild.plan.action import Action, Plan, Ref, TargetPlan
from onnxbuild.plan.benchmarks import add_benchmarks, add_comparisons, add_tune
from onnxbuild.plan.compiled import add_compiled
from onnxbuild.plan.data import add_data, evaluation_data
from onnxbuild.plan.drafts import Drafts, name_actions
from onnxbuild.plan.models import add_models, quantizer_calls, step_limits
from onnxbuild.plan.searches import add_auto, add_blame, add_repair, proofs_of
from onnxbuild.plan.selection import select
from onnxbuild.plan.target_action import keyed_source, source_files, target_action
from onnxbuild.plan.validations import add_validations
from onnxbuild.recipe.types import Input, OutputTolerance, Provider, Recipe, Target
from onnxbuild.stages.package import PackageParams
from onnxbuild.stages.place import PlaceParams
from onnxbuild.stages.reference import ReferenceParams


def build_plan(recipes: Sequence[Recipe], selected: Iterable[str]) -> Plan:
    """Return the plan for the targets of `recipes` whose names are `selected`.

    All targets are planned, so that an action has the same name whichever are selected; then only what the selected
    ones need is kept. A target that only a ratio gate of a selected one refers to comes along as support.
    """
    drafts = Drafts()
    plans: list[TargetPlan] = []
    for recipe in recipes:
        limits = step_limits(recipe)
        plans += add_comparisons(drafts, [_plan_target(drafts, target, limits) for target in recipe.targets])
    return select(name_actions(drafts, plans), set(selected))


def _plan_target(drafts: Drafts, target: Target, limits: dict[str, OutputTolerance]) -> TargetPlan:
    several = target.calibration is not None
    evaluation = add_data(drafts, target, "data.1" if several else "data", *evaluation_data(target))
    calibration = None
    if target.calibration is not None:
        calibration = add_data(drafts, target, "data.2", target.calibration.data, target.calibration.samples, None)
    probe = calibration if target.evaluation is None and calibration is not None else evaluation
    calls = quantizer_calls(target, probe, calibration)
    models = add_models(drafts, target, limits, probe, calls)
    reference = drafts.add(
        target,
        "reference",
        target_action(
            target,
            "reference",
            ReferenceParams(source=keyed_source(target.source), inputs=target.inputs, outputs=target.outputs),
            {"calls": Ref(evaluation, "inputs"), "edges": Ref(evaluation, "edges")},
            source_files(target),
        ),
    )
    proofs = proofs_of(target, evaluation, reference)
    if target.quantization is not None and target.quantization.repair:
        models = (*models, add_repair(drafts, target, models, calls, proofs))
    if target.auto is not None:
        models = (*models, add_auto(drafts, target, target.auto, models[-1], calls, proofs))
    tune = add_tune(drafts, target, models[-1].ref, evaluation)
    tuned = {"session": Ref(tune, "session")} if tune is not None else {}
    compiled = add_compiled(drafts, target, {"model": models[-1].ref, **tuned})
    validations = add_validations(drafts, target, models, evaluation, reference, tuned, compiled)
    measured = {"model": models[-1].ref, "calls": Ref(evaluation, "inputs"), **tuned}
    placements = {p.name: drafts.add(target, f"place@{p.name}", _place(target, p, measured)) for p in target.providers}
    benchmarks = add_benchmarks(drafts, target, measured, compiled)
    blame = add_blame(drafts, target, models, calls, proofs)
    validated = (name for names in validations.values() for name in names)
    after = tuple(dict.fromkeys([*validated, *placements.values(), *benchmarks.values()]))
    formats = tuple(name for name in target.package.formats if name != "compiled")  # that is a stage of its own
    other = {"calls": Ref(evaluation, "inputs")} if "ort" in formats else {}
    package = drafts.add(
        target,
        "package",
        replace(
            target_action(
                target,
                "package",
                PackageParams(
                    package=msgspec.structs.replace(target.package, formats=formats),
                    session=target.session,
                    inputs=_delivered_inputs(target),
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


def _place(target: Target, provider: Provider, inputs: dict[str, Ref]) -> Action:
    params = PlaceParams(provider=provider.name, options=provider.options, session=target.session)
    return target_action(target, "place", params, inputs)


def _delivered_inputs(target: Target) -> tuple[Input, ...]:
    """Return the inputs of what is delivered: as declared, unless float16 may change them (`keep_io: false`)."""
    wanted = target.quantization
    if wanted is None or wanted.mode != "float16" or wanted.keep_io:
        return target.inputs
    return tuple(
        msgspec.structs.replace(each, dtype="float16") if each.dtype == "float32" else each for each in target.inputs
    )
