"""What every step that rewrites a model does last: same interface, canonical form, checks; knows no particular step."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from onnxbuild.base.atomic import link_or_copy
from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.digest import digest_file, list_files
from onnxbuild.ir.canonical import canonicalize, names_of
from onnxbuild.ir.check import check_model_file
from onnxbuild.ir.describe import describe
from onnxbuild.ir.facts import ModelFacts
from onnxbuild.ir.model import MODEL, read_model, write_model
from onnxbuild.ir.opset import convert_opset, set_ir_version
from onnxbuild.ort.session import UNOPTIMIZED, open_session
from onnxbuild.stages.stage import Workspace


def write_candidate(
    model: ir.Model,
    source: Path,
    ws: Workspace,
    tool: str,
    *,
    opset: int | None = None,
    ir_version: int | None = None,
    keep_dtypes: bool = True,
) -> Path:
    """Write `model` to a scratch folder as `write_changed` does, and return that folder."""
    folder = ws.scratch / "candidate"
    write_changed(model, source, folder, tool, opset=opset, ir_version=ir_version, keep_dtypes=keep_dtypes)
    return folder


def write_changed(
    model: ir.Model,
    source: Path,
    folder: Path,
    tool: str,
    *,
    opset: int | None = None,
    ir_version: int | None = None,
    keep_dtypes: bool = True,
    load: bool = True,
) -> None:
    """Write `model`, which `tool` made from the artifact in `source`, to `folder`.

    It gets the source's metadata and declared shapes, the canonical form, and the opset and IR version asked for
    (None: the source's). Raises StageFailure when its inputs or outputs are not the source's (`keep_dtypes` false:
    other than in dtype), when it is not valid or when ONNX Runtime does not load it (`load` false: the
    caller opens it).
    """
    like = read_model(source)
    _require_interface(model, like, tool, keep_dtypes)
    _carry_over(model, like)
    opset = opset if opset is not None else like.opset_imports.get("")
    if opset is not None and model.opset_imports.get("", opset) != opset:
        model = convert_opset(model, opset)
    canonicalize(model, before=names_of(like))
    set_ir_version(model, ir_version if ir_version is not None else like.ir_version)
    write_model(model, folder, like=source)
    try:
        check_model_file(folder)
        if load:
            open_session(folder / MODEL, UNOPTIMIZED)
    except StageFailure as failure:
        raise StageFailure(
            failure.code,
            f"{tool} wrote an invalid model: {failure.message}",
            hint=failure.hint,
            tool=tool,
            node=failure.node,
        ) from failure


def is_same(one: Path, other: Path) -> bool:
    """Say whether two artifact folders hold the same bytes."""
    files = list_files(one)
    return files == list_files(other) and all(_is_same_file(one / f, other / f) for f in files)


def _is_same_file(one: Path, other: Path) -> bool:
    if one.samefile(other):
        return True
    return one.stat().st_size == other.stat().st_size and digest_file(one) == digest_file(other)


def deliver(folder: Path, ws: Workspace) -> ModelFacts:
    """Make the artifact in `folder` the output `model` and return its facts: scratch is moved, other folders linked."""
    out = ws.output("model")
    for name in list_files(folder):
        if folder.is_relative_to(ws.scratch):
            (folder / name).replace(out / name)
        else:
            link_or_copy(folder / name, out / name)
    return describe(out, ws.inputs.get("model"))


def _require_interface(model: ir.Model, like: ir.Model, tool: str, keep_dtypes: bool) -> None:
    for what, before, after in (
        ("inputs", _fed(like), _fed(model)),
        ("outputs", list(like.graph.outputs), list(model.graph.outputs)),
    ):
        names, delivered = [value.name for value in before], [value.name for value in after]
        if names != delivered:
            raise StageFailure(
                "changed-interface", f"{tool} changed the model's {what} from {names} to {delivered}", tool=tool
            )
        for old, new in zip(before, after, strict=True):
            if keep_dtypes and old.dtype != new.dtype:
                raise StageFailure(
                    "changed-interface", f"{tool} changed '{old.name}' from {old.dtype} to {new.dtype}", tool=tool
                )


def _fed(model: ir.Model) -> list[ir.Value]:
    return [value for value in model.graph.inputs if not value.is_initializer()]


def _carry_over(model: ir.Model, like: ir.Model) -> None:
    """Give `model` what tools lose or change of a model's face: metadata, producer, names, declared I/O shapes."""
    model.metadata_props.clear()
    model.metadata_props.update(like.metadata_props)
    model.domain, model.model_version, model.graph.name = like.domain, like.model_version, like.graph.name
    for before, after in zip((*_fed(like), *like.graph.outputs), (*_fed(model), *model.graph.outputs), strict=True):
        after.shape = before.shape.copy() if before.shape is not None else None
