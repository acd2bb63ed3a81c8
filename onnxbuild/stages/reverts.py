"""What guarding a pass came to: what was tested, what broke and was left out; values only."""

from __future__ import annotations

import msgspec

from onnxbuild.proof.measures import OutputMeasures

Sizes = dict[str, int]
"""The size of each dynamic axis in one call."""

CHANGED_RESULTS = "pass-changed-results"

REPRO = "repro"
"""The artifact of optimize that holds a folder for each single pass that broke the model."""

CASE = "case.json"
"""The file in such a folder that holds its Reverted."""


class Breakage(msgspec.Struct, frozen=True, kw_only=True):
    """How a pass broke a model: `code` and `message` as for failures; `sizes` of the first call that shows it.

    `measures` tell how far each output is off where the model still runs.
    """

    code: str
    message: str
    node: str | None = None
    sizes: Sizes | None = None
    measures: tuple[OutputMeasures, ...] = ()


class Reverted(msgspec.Struct, frozen=True, kw_only=True):
    """A single pass that was left out. `name` is the tool's own for it, or the whole entry's where it has no parts.

    `repro` is its folder in the artifact `repro`; the model there has `nodes` nodes.
    """

    tool: str
    name: str
    broke: Breakage
    repro: str
    nodes: int

    @property
    def title(self) -> str:
        """What people call it, such as "fuse_pad_into_pool of onnxoptimizer default"."""
        return self.tool if self.name == self.tool else f"{self.name} of {self.tool}"


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes at which a pass was compared with its input, and those left out: too much work, or its input fails.

    `precision` is the coarsest float dtype in the graph, None without floats.
    """

    sizes: tuple[Sizes, ...] = ()
    skipped: tuple[Sizes, ...] = ()
    precision: str | None = None
