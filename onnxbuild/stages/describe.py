"""The describe stage: what a saved model of any framework tells of itself; part of no plan, run to draft a recipe."""

from __future__ import annotations

import msgspec

from onnxbuild.recipe.types import Source
from onnxbuild.sources.description import SourceFacts
from onnxbuild.sources.needs import NEEDS
from onnxbuild.sources.source import SourceRequest
from onnxbuild.stages.packages import MODEL, ONNXRUNTIME
from onnxbuild.stages.stage import Stage, Workspace


class DescribeParams(msgspec.Struct, frozen=True):
    """What to open. Workspace file: `path`."""

    source: Source


class DescribeFacts(msgspec.Struct, frozen=True):
    """What the model says; no artifact."""

    source: SourceFacts


def run(params: DescribeParams, work: Workspace) -> DescribeFacts:
    """Open the model as its export would and describe it; raises StageFailure."""
    # The stage table is read by every command, also by those that touch no model.
    from onnxbuild.sources.table import source_kind

    request = SourceRequest(source=params.source, inputs=(), outputs=(), axes={}, files=work.files, warn=work.warn)
    return DescribeFacts(source_kind(params.source.framework).describe(request))


DESCRIBE = Stage(
    name="describe",
    version=1,
    params=DescribeParams,
    facts=DescribeFacts,
    run=run,
    packages=lambda params: tuple(dict.fromkeys((*NEEDS[params.source.framework].packages, *MODEL, ONNXRUNTIME))),
    preload=lambda params: NEEDS[params.source.framework].preload,
    runs_user_code=lambda params: params.source.trust_pickle,
)
