"""The compile stage: the delivered model as a provider compiles it ahead, for one kind of device; measures nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ort.facts import Device
from onnxbuild.recipe.providers import TABLE
from onnxbuild.recipe.types import Axis, Session
from onnxbuild.stages.packages import ONNXRUNTIME, PRELOAD
from onnxbuild.stages.stage import Stage, Workspace
from onnxbuild.stages.tune import session_of

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 2_000_000_000
"""A compiled model holds everything in one file, which protobuf limits to 2 GiB."""
WITHOUT = "leave compiled out of `package.formats`"


class CompileParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of compile. Inputs: `model`, `session` where tune chose it. `options` are the provider's own."""

    provider: str
    options: dict[str, str] = {}
    session: Session
    axes: dict[str, Axis] = {}


class CompileFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was compiled. Output: `compiled`, a folder whose model.onnx is the compiled model.

    `absent` says why there is no such provider here: then nothing else is known and `compiled` is the plain model.
    `parts` are the pieces that the provider compiled, `left` how many of each operator it left to others, `sdk` the
    versions that the pieces name, `compatibility` what the provider says of where they run.
    """

    asked: str
    absent: str | None = None
    devices: tuple[Device, ...] = ()
    parts: int = 0
    left: dict[str, int] = {}
    bytes: int = 0
    sdk: tuple[str, ...] = ()
    compatibility: str = ""


def run(params: CompileParams, work: Workspace) -> CompileFacts:
    """Have the provider compile the model. Raises StageFailure.

    The codes are `model-too-large`, `provider-refuses`, `nothing-compiled` and `changed-interface`.
    """
    from onnxbuild.base.atomic import link_or_copy
    from onnxbuild.base.digest import list_files
    from onnxbuild.ir.compiled import read_parts
    from onnxbuild.ir.model import MODEL
    from onnxbuild.ort.compiling import compile_on, nothing_compiled
    from onnxbuild.ort.providers import Absent

    asked, plain, out = TABLE[params.provider].full_name, work.inputs["model"], work.output("compiled")
    _check_size(plain)
    try:
        found = compile_on(
            plain / MODEL, out / MODEL, params.provider, params.options, session_of(params.session, work)
        )
    except StageFailure as failure:
        raise StageFailure(
            failure.code, failure.message, hint=failure.hint or _hint(params), tool=failure.tool
        ) from failure
    if isinstance(found, Absent):
        for name in list_files(plain):
            link_or_copy(plain / name, out / name)
        return CompileFacts(asked=asked, absent=found.why)
    held = read_parts(out / MODEL)
    if not held.parts:
        raise nothing_compiled(asked)
    _check_interface(plain / MODEL, out / MODEL, asked)
    return CompileFacts(
        asked=asked,
        devices=found,
        parts=held.parts,
        left=held.left,
        bytes=(out / MODEL).stat().st_size,
        sdk=held.sdk,
        compatibility=held.compatibility,
    )


def _check_size(plain: Path) -> None:
    size = sum(file.stat().st_size for file in plain.iterdir())
    if size > MOST_BYTES:
        message = f"the model has {size} bytes, and a compiled one holds all in one file of at most {MOST_BYTES}"
        raise StageFailure("model-too-large", message, hint=WITHOUT)


def _hint(params: CompileParams) -> str:
    if not params.axes:
        return WITHOUT
    axes = " and ".join(f"'{axis}'" for axis in params.axes)
    return f"where it takes fixed sizes only, write numbers for {axes} under `inputs`; or {WITHOUT}"


def _check_interface(plain: Path, compiled: Path, asked: str) -> None:
    from onnxbuild.ir.compiled import interface_of

    before, after = interface_of(plain), interface_of(compiled)
    if before != after:
        message = f"{asked} changed the model's inputs or outputs from {', '.join(before)} to {', '.join(after)}"
        raise StageFailure("changed-interface", message, hint=WITHOUT, tool=asked)


COMPILE = Stage(
    name="compile",
    version=1,
    params=CompileParams,
    facts=CompileFacts,
    run=run,
    packages=lambda params: ("onnx", "protobuf", ONNXRUNTIME, *TABLE[params.provider].distributions),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda _: False,
    only_reads=True,
    seconds=1.0,
    hardware=lambda _: True,
    devices=lambda _: True,
)
