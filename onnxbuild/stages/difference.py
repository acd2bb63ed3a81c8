"""The difference stage: counts in what two model artifacts differ; part of no plan, run for `explain`."""

from __future__ import annotations

import msgspec

from onnxbuild.stages.packages import PRELOAD
from onnxbuild.stages.stage import Stage, Workspace


class DifferenceParams(msgspec.Struct, frozen=True):
    """Nothing to choose. Workspace inputs: `old` and `new`, artifacts of models."""


class DifferenceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """In what two models differ, by the names of nodes and initializers; no artifact.

    Of `initializers` in the new model so many are `changed_initializers` (values, dtype or shape, or new); those only
    in the old one are `removed_initializers`. `first` words the first difference, None where only metadata differs.
    """

    initializers: int
    changed_initializers: int
    removed_initializers: int
    nodes: int
    changed_nodes: int
    added_nodes: int
    removed_nodes: int
    first: str | None


def run(params: DifferenceParams, workspace: Workspace) -> DifferenceFacts:
    """Count the differences."""
    # The stage table is read by every command, also by those that touch no model.
    from onnxbuild.ir.difference import count_differences, first_difference

    old, new = workspace.inputs["old"], workspace.inputs["new"]
    counts = count_differences(old, new)
    return DifferenceFacts(
        initializers=counts.initializers,
        changed_initializers=counts.changed_initializers,
        removed_initializers=counts.removed_initializers,
        nodes=counts.nodes,
        changed_nodes=counts.changed_nodes,
        added_nodes=counts.added_nodes,
        removed_nodes=counts.removed_nodes,
        first=first_difference(old, new),
    )


DIFFERENCE = Stage(
    name="difference",
    version=1,
    params=DifferenceParams,
    facts=DifferenceFacts,
    run=run,
    packages=lambda _: ("onnx", "onnx-ir"),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda _: False,
)
