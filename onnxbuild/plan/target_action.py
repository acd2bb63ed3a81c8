"""One action of a target: with what its recipe declares for user code, and the files it names; knows no order."""

from __future__ import annotations

import msgspec

from onnxbuild.plan.action import Action, Ref
from onnxbuild.recipe.types import Source, Target
from onnxbuild.stages.table import STAGES


def target_action(
    target: Target,
    stage: str,
    params: msgspec.Struct,
    inputs: dict[str, Ref],
    files: dict[str, str] | None = None,
) -> Action:
    """Return an action of a target, without a name yet."""
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


def keyed_source(source: Source) -> Source:
    """Return a source without what changes nothing that is computed from it."""
    return msgspec.structs.replace(source, sha256=None, reads=(), env=())


def source_files(target: Target) -> dict[str, str]:
    """Return the files of a target's source by what they are, relative to the project."""
    source, files = target.source, {}
    if source.factory is not None:
        files["factory"] = in_project(target, source.factory.file)
    if source.weights is not None:
        files["weights"] = in_project(target, source.weights)
    if source.path is not None:
        files["path"] = in_project(target, source.path)
    return files


def in_project(target: Target, path: str) -> str:
    """Return a path of a target's recipe relative to the project."""
    return f"{target.folder}/{path}" if target.folder else path
