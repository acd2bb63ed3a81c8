"""The compare stage: in what two foreign model files differ; part of no plan, run for `diff`."""

from __future__ import annotations

import msgspec

from onnxbuild.ir.facts import ComparisonFacts
from onnxbuild.stages.packages import PRELOAD
from onnxbuild.stages.stage import Stage, Workspace


class CompareParams(msgspec.Struct, frozen=True):
    """Nothing to choose. Workspace files: `old` and `new`."""


def run(params: CompareParams, workspace: Workspace) -> ComparisonFacts:
    """Compare the models after a pre-flight of both; raises StageFailure when one may not be opened."""
    # The stage table is read by every command, also by those that touch no model.
    from onnxbuild.ir.comparison import compare
    from onnxbuild.ir.preflight import preflight

    old, new = workspace.files["old"], workspace.files["new"]
    for file in (old, new):
        preflight(file)
    return compare(old, new)


COMPARE = Stage(
    name="compare",
    version=2,
    params=CompareParams,
    facts=ComparisonFacts,
    run=run,
    packages=lambda _: ("onnx", "onnx-ir"),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda _: False,
)
