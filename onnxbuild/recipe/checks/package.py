"""What a package is to hold against what may and can be made: portable or not, compiled by whom; reads no file."""

from __future__ import annotations

from onnxbuild.recipe.draft import Draft
from onnxbuild.recipe.providers import COMPILING
from onnxbuild.recipe.types import Target


def check_package(draft: Draft, target: Target) -> None:
    """Note compiled models that are asked for and must not or cannot be made."""
    if "compiled" not in target.package.formats:
        return
    written = draft.raw.package.formats if draft.raw.package is not None else None
    asked = draft.value("package", "formats", (written or []).index("compiled"))
    if target.package.portable:
        message = "a compiled model is tied to one kind of device and driver, and the package is to be portable"
        place = draft.value("package", "portable") if draft.has("package", "portable") else asked
        hint = "package: {formats: [onnx, compiled], portable: false}; model.onnx stays as portable as it is"
        draft.error("not-portable", message, place, "package", hint=hint)
    if not any(provider.name in COMPILING for provider in target.providers):
        named = ", ".join(provider.name for provider in target.providers)
        message = f"none of the target's providers compiles models ahead: {named}"
        hint = f"name one that does under `providers` ({', '.join(COMPILING)}), or leave out compiled"
        draft.error("wrong-value", message, asked, "package", hint=hint)
