"""The export stage: the source model becomes a canonical ONNX model with the recipe's names, dims and opset.

Knows no framework: `sources` does. For an ONNX source the stage is called canonicalize.
"""

from __future__ import annotations

import gc

import msgspec

from onnxbuild.base.codec import encode
from onnxbuild.ir.facts import ModelFacts
from onnxbuild.recipe.types import Axis, Framework, Input, Output, Source
from onnxbuild.sources.needs import NEEDS
from onnxbuild.sources.source import SourceRequest
from onnxbuild.stages.packages import MODEL, ONNXRUNTIME
from onnxbuild.stages.stage import Stage, Workspace

ORIGINS = "origins.json"
LARGE = 50_000_000
"""Bytes of a graph file, without external weights, from which memory counts."""


class ExportParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of export (and canonicalize). Workspace files: `factory`, `weights`, `path` where the source has them.

    `source` is the recipe's without pin, reads and env. `opset` None: the ONNX source's own.
    """

    source: Source
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    axes: dict[str, Axis]
    opset: int | None
    ir_version: int | None


class ExportFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was exported. Outputs: `model` and `origins` (origins.json: node name to ir.facts.Origin)."""

    model: ModelFacts


def run(params: ExportParams, work: Workspace) -> ExportFacts:
    """Export, give the model the recipe's names, dims, opset and IR version, and read back that it has them.

    Raises StageFailure.
    """
    # The stage table is read by every command, also by those that touch no model.
    from onnxbuild.ir.canonical import canonicalize
    from onnxbuild.ir.check import check_model_file
    from onnxbuild.ir.contract import check_contract, rename_io, set_dims
    from onnxbuild.ir.describe import describe
    from onnxbuild.ir.model import MODEL, read_model_file, write_model
    from onnxbuild.ir.opset import convert_opset, set_ir_version
    from onnxbuild.ort.session import UNOPTIMIZED, open_session
    from onnxbuild.sources.table import source_kind

    kind = source_kind(params.source.framework)
    request = SourceRequest(
        source=params.source,
        inputs=params.inputs,
        outputs=params.outputs,
        axes=params.axes,
        files=work.files,
        warn=work.warn,
        saw=work.saw,
        used=work.used,
    )
    exported = kind.export(request, params.opset, work.scratch)
    for note in exported.notes:
        work.warn("converter", note)
    model = read_model_file(exported.path)
    rename_io(model, params.inputs, params.outputs)
    set_dims(model, params.inputs, params.axes)
    if params.opset is not None:
        model = convert_opset(model, params.opset)
    set_ir_version(model, params.ir_version)
    origins = canonicalize(model, source=params.source.framework, modules=exported.modules, root=work.recipe_folder)
    folder = work.output("model")
    write_model(model, folder)
    del model
    if (folder / MODEL).stat().st_size > LARGE:
        gc.collect()  # graphs are cycles: a large one would be there twice while it is read back
    (work.output("origins") / ORIGINS).write_bytes(encode(origins))
    facts = describe(folder)
    check_contract(facts, params.inputs, params.outputs, opset=params.opset, ir_version=params.ir_version)
    check_model_file(folder)
    open_session(folder / MODEL, UNOPTIMIZED)  # the checker passes models that the runtime refuses
    return ExportFacts(model=facts)


def runs_user_code(source: Source) -> bool:
    """Return whether loading the source runs Python that the recipe names, or that a trusted file brings."""
    return source.factory is not None or source.trust_pickle


def _packages(params: ExportParams) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*NEEDS[params.source.framework].packages, *MODEL, "onnxscript", ONNXRUNTIME)))


def _stage(name: str) -> Stage[ExportParams, ExportFacts]:
    return Stage(
        name=name,
        version=4,
        params=ExportParams,
        facts=ExportFacts,
        run=run,
        packages=_packages,
        preload=lambda params: NEEDS[params.source.framework].preload,
        runs_user_code=lambda params: runs_user_code(params.source),
        seconds=5.0,
    )


EXPORT = _stage("export")
CANONICALIZE = _stage("canonicalize")


def export_stage(framework: Framework) -> Stage[ExportParams, ExportFacts]:
    """Return the stage that a source of this framework begins with."""
    return CANONICALIZE if framework is Framework.ONNX else EXPORT
