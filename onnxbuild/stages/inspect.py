"""The inspect stage: describes a foreign model file; part of no plan, run for the commands that only look."""

from __future__ import annotations

import msgspec

from onnxbuild.ir.facts import ModelFacts
from onnxbuild.stages.packages import PRELOAD
from onnxbuild.stages.stage import Stage, Workspace


class InspectParams(msgspec.Struct, frozen=True):
    """Nothing to choose. Workspace file: `model`."""


class InspectFacts(msgspec.Struct, frozen=True):
    """What the model is; no artifact. `data` names its external data files, relative to its folder."""

    model: ModelFacts
    data: tuple[str, ...]


def run(params: InspectParams, workspace: Workspace) -> InspectFacts:
    """Describe the model after a pre-flight; raises StageFailure when the file is not a model that may be opened."""
    # The stage table is read by every command, also by those that touch no model.
    from onnxbuild.ir.describe import describe
    from onnxbuild.ir.preflight import external_files, preflight

    file = workspace.files["model"]
    data = external_files(preflight(file), file.parent)
    return InspectFacts(describe(file), tuple(path.relative_to(file.parent).as_posix() for path in data))


INSPECT = Stage(
    name="inspect",
    version=3,
    params=InspectParams,
    facts=InspectFacts,
    run=run,
    packages=lambda _: ("onnx", "onnx-ir"),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda _: False,
)
