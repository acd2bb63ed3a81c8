"""The reference stage: the source framework's own outputs on the evaluation (or probe) calls."""

from __future__ import annotations

import msgspec

from onnxbuild.recipe.types import Input, Output, Source


class ReferenceParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of reference. Workspace files as in export; inputs: `calls`."""

    source: Source
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]


class ReferenceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was run. Output: `outputs` (a calls artifact: one mapping of output arrays per call)."""

    calls: int
    nonfinite: dict[str, int] = {}
