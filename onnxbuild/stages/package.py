"""The package stage: the proved model as a folder that a deployment can use; gates and names are added on delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from onnxbuild.base.atomic import link_or_copy
from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.digest import digest_file, list_files
from onnxbuild.ir.facts import ModelFacts
from onnxbuild.recipe.types import Axis, Input, Output, Package, Session
from onnxbuild.stages.packages import MODEL, ONNXRUNTIME, PRELOAD
from onnxbuild.stages.stage import Stage, Workspace
from onnxbuild.stages.tune import session_of, threads_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MACHINE_TIED = frozenset({"com.microsoft.nchwc", "com.ms.internal.nhwc"})
"""Domains whose operators ONNX Runtime writes for the machine it optimised on."""


MOST_CALLS = 8
"""Calls of the evaluation data on which another format is held against the model."""


MOST_COMPRESSED = 200_000_000
"""Bytes up to which a model is compressed to see how large it is then: some seconds of work."""


class PackageParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of package. Inputs: `model`, `session` where tune chose it, `calls` for another format than onnx."""

    package: Package
    session: Session
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    axes: dict[str, Axis]
    opset: int | None
    ir_version: int | None


class PackageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is delivered. Output: `package` (model.onnx, its external data, model.ort where asked for).

    `digests` maps a file to its SHA-256. `session` is what it was proved with. `compressed` is about how many bytes
    deflate makes of the model and its data, None where they are too many to try.
    """

    model: ModelFacts
    session: Session = Session()
    digests: dict[str, str]
    compressed: int | None = None


def run(params: PackageParams, workspace: Workspace) -> PackageFacts:
    """Pass the validated model on, add the recipe's metadata to its graph file, and read back what is delivered.

    The weights file is never rewritten. Raises StageFailure (`not-portable`, `contract-broken`, `invalid-model`,
    `model-does-not-load`, `format-changed-results`).
    """
    # The stage table is read by every command, also by those that touch no model.
    from onnxbuild.ir.check import check_model_file
    from onnxbuild.ir.contract import check_contract
    from onnxbuild.ir.describe import describe
    from onnxbuild.ir.model import MODEL as FILE
    from onnxbuild.ir.model import add_metadata
    from onnxbuild.ort.session import open_session

    folder = workspace.output("package")
    for name in list_files(workspace.inputs["model"]):
        link_or_copy(workspace.inputs["model"] / name, folder / name)
    if params.package.metadata:
        add_metadata(folder, params.package.metadata)
    facts = describe(folder)
    if params.package.portable:
        _check_portable(facts)
    check_contract(facts, params.inputs, params.outputs, opset=params.opset, ir_version=params.ir_version)
    check_model_file(folder)
    session = session_of(params.session, workspace)
    open_session(folder / FILE, session)
    if "ort" in params.package.formats:
        _add_ort(params, session, workspace, folder)
    return PackageFacts(
        model=facts,
        session=session,
        digests={name: digest_file(folder / name) for name in list_files(folder)},
        compressed=_compressed([folder / name for name in list_files(folder) if not name.endswith(".ort")]),
    )


def _compressed(files: Sequence[Path]) -> int | None:
    """Return the bytes after deflate at its fastest, in two digits: implementations of it differ a little."""
    import zlib

    if sum(file.stat().st_size for file in files) > MOST_COMPRESSED:
        return None
    deflate, size = zlib.compressobj(1), 0
    for file in files:
        with file.open("rb") as stream:
            while piece := stream.read(1 << 20):
                size += len(deflate.compress(piece))
    return round(float(f"{size + len(deflate.flush()):.2g}"))


def _add_ort(params: PackageParams, session: Session, workspace: Workspace, folder: Path) -> None:
    """Write model.ort beside the model and hold its outputs against the model's own, at the level that it fixes."""
    from itertools import islice

    from onnxbuild.data.calls import read_calls
    from onnxbuild.ir.model import MODEL as FILE
    from onnxbuild.ort.ort_format import write_ort
    from onnxbuild.ort.session import open_session, run_call
    from onnxbuild.proof.compare import Comparison
    from onnxbuild.proof.limits import exceeds, step_limit

    session = msgspec.structs.replace(session, graph_optimization="basic" if params.package.portable else "all")
    written = write_ort(folder / FILE, folder, workspace.scratch, session)
    model, other = open_session(folder / FILE, session), open_session(written, session)
    comparisons = {value.name: Comparison(value.name) for value in model.get_outputs()}
    for call in islice(read_calls(workspace.inputs["calls"]), MOST_CALLS):
        found = run_call(other, call)
        for name, expected in run_call(model, call).items():
            comparisons[name].add(expected, found[name], expected.shape[0] if expected.ndim else 1)
    for measures in (comparison.result() for comparison in comparisons.values()):
        if exceeds(measures, step_limit(None, measures.dtype, None)):
            far = f"output '{measures.name}' differs in {measures.unequal} of {measures.elements} elements"
            message = f"in ORT format the model computes something else: {far}"
            raise StageFailure("format-changed-results", message, hint="formats: [onnx]", tool="onnxruntime")


def _check_portable(facts: ModelFacts) -> None:
    tied = [
        f"{operator} ({count})"
        for operator, count in facts.operators.items()
        if operator.rpartition(".")[0] in MACHINE_TIED
    ]
    if tied:
        raise StageFailure(
            "not-portable",
            f"the model holds operators tied to the machine it was optimised on: {', '.join(tied)}",
            hint="use `onnxruntime: extended` or `basic`, or set `package: {portable: false}`",
        )


PACKAGE = Stage(
    name="package",
    version=5,
    params=PackageParams,
    facts=PackageFacts,
    run=run,
    packages=lambda _: (*MODEL, ONNXRUNTIME),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda _: False,
    threads=lambda params, told: threads_of(params.session, told) if set(params.package.formats) - {"onnx"} else 1,
    only_reads=True,
    hardware=lambda params: "ort" in params.package.formats and not params.package.portable,
)
