"""Quantising in spite of tools that crash or write invalid graphs: a ladder of what is given up; knows no recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from onnxbuild.base.diagnostics import Remark, StageFailure
from onnxbuild.data.calls import Calls
from onnxbuild.ir.model import read_model
from onnxbuild.ir.opset import convert_opset
from onnxbuild.recipe.types import Quantization
from onnxbuild.stages.delivery import write_changed
from onnxbuild.stages.quantize import Rung
from onnxbuild.stages.quantizing import TOOLS, Quantized, Requantizer, needed_opset

TOOL_FAILURES = ("tool-failed", "invalid-model", "model-does-not-load", "changed-interface", "float16-overflow")
"""Failures that are due to how a tool treats some node; any other has its reason in the recipe or the data."""
ATTEMPTS = 64
"""Models that are quantised to find the nodes a tool fails on, at most; what is not told apart by then is left out."""
SHOWN = 5


class Mended(msgspec.Struct, frozen=True, kw_only=True):
    """The quantised model and what it was made from: the float model, settings, and nodes kept in float.

    `tried` is empty where nothing had to be given up.
    """

    quantized: Quantized
    source: Path
    quantization: Quantization
    keep: tuple[str, ...] = ()
    tried: tuple[Rung, ...] = ()

    @property
    def skips_quantized(self) -> bool:
        """Whether what was quantised before stays as it is."""
        return any(rung.kind == "quantized" for rung in self.tried)


class Ladder:
    """One float model that is to be quantised although tools fail on it; every model goes below `scratch`.

    `is_opset_free` says that nobody asked for the opset it has.
    """

    def __init__(self, source: Path, calls: Calls | None, scratch: Path, *, is_opset_free: bool) -> None:
        self._source, self._calls, self._scratch = source, calls, scratch
        self._is_opset_free = is_opset_free
        self._tried: list[Rung] = []
        self._requantizer = Requantizer(source, calls, scratch / "as-it-is")

    def quantize(self, quantization: Quantization) -> Mended:
        """Return the model quantised with as little given up as the ladder knows; raises the last StageFailure."""
        keep: tuple[str, ...] = ()
        while True:
            try:
                quantized = self._requantizer.quantize(quantization, keep)
            except StageFailure as failure:
                quantization, keep = self._step(quantization, keep, failure)
                continue
            return Mended(
                quantized=msgspec.structs.replace(quantized, warnings=(*self._remarks(), *quantized.warnings)),
                source=self._source,
                quantization=quantization,
                keep=keep,
                tried=tuple(self._tried),
            )

    def _remarks(self) -> list[Remark]:
        return [Remark("mended", f"{rung.instead}, because {rung.failure}") for rung in self._tried]

    def _step(
        self, quantization: Quantization, keep: tuple[str, ...], failure: StageFailure
    ) -> tuple[Quantization, tuple[str, ...]]:
        """Return what to try next; raises `failure` where the ladder ends."""
        if failure.code == "already-quantized" and not self._requantizer.skips_quantized:
            self._requantizer.skips_quantized = True
            return self._note(failure, "quantized", "what is quantised already stays as it is", quantization, keep)
        if failure.code == "opset-too-low" and self._is_opset_free:
            opset = needed_opset(quantization)
            self._upgrade(quantization, opset)
            return self._note(failure, "opset", f"the model is upgraded to opset {opset}", quantization, keep)
        pinned = failure.code == "opset-too-low" and quantization.mode == "static"
        if quantization.per_channel and (pinned or failure.code in TOOL_FAILURES):
            plain = msgspec.structs.replace(quantization, per_channel=False)
            if pinned or self._works(plain, keep):
                return self._note(
                    failure, "per_channel", "one scale is used for each tensor, not for each channel", plain, keep
                )
        if failure.code in TOOL_FAILURES and not keep:
            culprits = self._culprits(quantization, failure)
            shown = ", ".join(culprits[:SHOWN]) + (
                f" and {len(culprits) - SHOWN} more" if len(culprits) > SHOWN else ""
            )
            return self._note(failure, "nodes", f"left in float are {shown}", quantization, culprits)
        raise failure

    def _note(
        self, failure: StageFailure, kind: str, instead: str, quantization: Quantization, keep: tuple[str, ...]
    ) -> tuple[Quantization, tuple[str, ...]]:
        self._tried.append(Rung(kind=kind, failure=failure.message, instead=instead))
        return quantization, keep

    def _upgrade(self, quantization: Quantization, opset: int) -> None:
        folder = self._scratch / "upgraded"
        model = convert_opset(read_model(self._source), opset)
        write_changed(model, self._source, folder, TOOLS[quantization.mode], opset=opset)
        skips = self._requantizer.skips_quantized
        self._source = folder
        self._requantizer = Requantizer(folder, self._calls, self._scratch / "requantized")
        self._requantizer.skips_quantized = skips

    def _works(self, quantization: Quantization, keep: Sequence[str]) -> bool:
        try:
            self._requantizer.quantize(quantization, keep)
        except StageFailure as failure:
            if failure.code not in TOOL_FAILURES:
                raise
            return False
        return True

    def _culprits(self, quantization: Quantization, failure: StageFailure) -> tuple[str, ...]:
        """Return the nodes that the tool fails on; raises `failure` when it fails whatever is left out."""
        names = self._requantizer.quantizable(quantization)
        if not names or not self._works(quantization, names):
            raise failure
        found = find_culprits(
            names, lambda some: self._works(quantization, [name for name in names if name not in some]), ATTEMPTS
        )
        return tuple(found if self._works(quantization, found) else names)


def find_culprits(names: Sequence[str], works: Callable[[frozenset[str]], bool], attempts: int) -> list[str]:
    """Return those of `names` without which the rest works, found by halving.

    `works` tells of some of them alone. Names that fail only together, or are not told apart within so many
    `attempts`, are all returned.
    """
    left = attempts

    def search(some: Sequence[str]) -> list[str]:
        nonlocal left
        left -= 1
        if left < 0 or not works(frozenset(some)):
            if len(some) == 1 or left < 0:
                return list(some)
            middle = len(some) // 2
            return [*search(some[:middle]), *search(some[middle:])] or list(some)
        return []

    return search(names)
