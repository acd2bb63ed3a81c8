"""The actions that make a target's calls from its data; knows not who is fed with them."""

from __future__ import annotations

from onnxbuild.plan.drafts import Drafts
from onnxbuild.plan.target_action import in_project, target_action
from onnxbuild.recipe.types import DataSource, FileData, LoaderData, RandomData, Target
from onnxbuild.stages.data import DataParams


def evaluation_data(target: Target) -> tuple[DataSource, int | None, str | None]:
    """Return what a target is measured on, how much of it, and where its labels are; without any, random calls."""
    if target.evaluation is None:
        return RandomData(), None, None
    wanted = target.evaluation
    return wanted.data, wanted.samples, wanted.labels if wanted.metric is not None else None


def add_data(
    drafts: Drafts, target: Target, label: str, data: DataSource, samples: int | None, labels: str | None
) -> str:
    """Add the reading of data into calls of a target."""
    params = DataParams(data=data, inputs=target.inputs, axes=target.dynamic_axes, samples=samples, labels=labels)
    files = {}
    if isinstance(data, FileData):
        files["data"] = in_project(target, data.path)
    elif isinstance(data, LoaderData):
        files["loader"] = in_project(target, data.function.file)
    return drafts.add(target, label, target_action(target, "data", params, {}, files))
