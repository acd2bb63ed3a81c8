"""The actions that hold a target's models against its source, on each provider; knows no speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from onnxbuild.plan.action import Action, Ref, StageModel
from onnxbuild.plan.compiled import compiled_or
from onnxbuild.plan.drafts import Drafts
from onnxbuild.plan.target_action import in_project, target_action
from onnxbuild.proof.gates import required_within
from onnxbuild.recipe.types import Target
from onnxbuild.stages.validate import ValidateParams, Within

INEXACT = ("prune", "quantize", "auto", "repair")
"""Stages that change numbers by design."""


def add_validations(
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
            ref = compiled_or(model.ref, compiled, provider.name) if last else model.ref
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
    inputs, files = measuring_inputs(target, evaluation, reference)
    return target_action(target, "validate", measuring(target, provider), {"model": model, **inputs}, files)


def measuring(target: Target, provider: str) -> ValidateParams:
    """Return how a model of a target is measured on a provider."""
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


def measuring_inputs(target: Target, evaluation: str, reference: str) -> tuple[dict[str, Ref], dict[str, str]]:
    """Return the inputs and files that measuring a model takes, besides the model."""
    metric = target.evaluation.metric if target.evaluation is not None else None
    inputs = {"calls": Ref(evaluation, "inputs"), "reference": Ref(reference, "outputs")}
    files = {}
    if metric is not None:
        inputs["labels"] = Ref(evaluation, "labels")
        if metric.function is not None:
            files["metric"] = in_project(target, metric.function.file)
    return inputs, files
