"""What a model gave at one combination of sizes of its dynamic axes, as values; knows no limits and no arrays."""

from __future__ import annotations

import msgspec

from onnxbuild.data.edge import Edge
from onnxbuild.proof.measures import OutputMeasures


class SizedOutput(msgspec.Struct, frozen=True, kw_only=True):
    """One output at one size: its shape, the source's, and how far it is from the source's where the shapes agree.

    `nonfinite` counts elements that are NaN or infinite where the source's is a finite number. `misdeclared` says
    which axis the model's own declaration of the output gets wrong.
    """

    name: str
    shape: tuple[int, ...]
    expected: tuple[int, ...]
    nonfinite: int = 0
    misdeclared: str | None = None
    measures: OutputMeasures | None = None


class SizeMeasures(msgspec.Struct, frozen=True, kw_only=True):
    """All outputs at one size. Without any, `failure` says why the model did not run, `untried` why nobody can tell."""

    edge: Edge
    outputs: tuple[SizedOutput, ...] = ()
    failure: str | None = None
    untried: str | None = None


class UntriedEdge(msgspec.Struct, frozen=True):
    """An edge at which the source gave nothing to compare with, and why."""

    edge: Edge
    reason: str


_OF_MEMORY = ("bad_alloc", "allocate memory", "out of memory", "outofmemory", "memoryerror", "can't allocate")


def is_of_memory(message: str) -> bool:
    """Tell whether a failure's message says that memory did not suffice, which proves nothing about the model."""
    return any(sign in message.lower() for sign in _OF_MEMORY)
