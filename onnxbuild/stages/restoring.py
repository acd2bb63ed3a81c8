"""Pruning and quantising a float model again with some of its nodes left as they were; knows no tolerance."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

import msgspec

from onnxbuild.data.calls import Calls
from onnxbuild.ir.layers import layers
from onnxbuild.ir.model import read_model
from onnxbuild.ir.preparation import prepare
from onnxbuild.ir.pruning import find_weights, prune
from onnxbuild.recipe.types import Choice, Pruning, Quantization
from onnxbuild.stages.delivery import write_changed
from onnxbuild.stages.quantizing import Requantizer

SETTINGS = ("calibrate", "per_channel", "weights", "activations", "op_types", "block_size", "symmetric")
"""Fields of a Choice that stand in place of a Quantization's."""


def chosen(quantization: Quantization, choice: Choice) -> Quantization:
    """Return `quantization` with the settings that `choice` changes."""
    changed = {name: value for name in SETTINGS if (value := getattr(choice, name)) is not None}
    return msgspec.structs.replace(quantization, **changed)


class Restorer:
    """The lossy steps of a target over the float model in `source`, to be done again with nodes restored.

    The nodes of `keep` stay in float whatever is chosen; `skips_quantized` is a Requantizer's.
    """

    def __init__(
        self,
        source: Path,
        pruning: Pruning | None,
        quantization: Quantization | None,
        calls: Calls | None,
        scratch: Path,
        *,
        keep: tuple[str, ...] = (),
        skips_quantized: bool = False,
    ) -> None:
        self._keep, self._skips_quantized = keep, skips_quantized
        self._source, self._pruning, self._quantization, self._calls = source, pruning, quantization, calls
        self._scratch = scratch
        scratch.mkdir(parents=True)
        self._kept: tuple[frozenset[str], Requantizer] | None = None
        self._prunable = {name for weight in self._weights() for name in weight} if pruning is not None else set()

    def layers(self) -> dict[str, tuple[str, ...]]:
        """Return the nodes of each layer that the steps change, by layer, in the graph's order."""
        found: dict[str, tuple[str, ...]] = {}
        if self._quantization is not None:
            found = self._requantizer(frozenset()).layers(self._quantization)
            found = {name: nodes for name, nodes in found.items() if not set(nodes) <= {*self._keep}}
        if self._pruning is not None:
            model = prepare(read_model(self._source))
            for name, nodes in layers(model, None).items():
                if name not in found and self._prunable.intersection(nodes):
                    found[name] = nodes
        return found

    def draft(self, choice: Choice) -> Path:
        """Return a folder with the model that this choice makes, good for measuring; `discard` it afterwards."""
        kept = frozenset(choice.keep) & self._prunable
        if self._quantization is None:
            return self._prune(kept)
        return self._requantizer(kept).draft(chosen(self._quantization, choice), (*choice.keep, *self._keep))

    def discard(self, folder: Path) -> None:
        """Remove what `draft` made."""
        if folder != self._source and folder.is_relative_to(self._scratch):
            shutil.rmtree(folder, ignore_errors=True)

    def _requantizer(self, unpruned: frozenset[str]) -> Requantizer:
        """Return the quantiser of the model pruned but for these nodes; the last one stays, with its calibration."""
        if self._kept is None or self._kept[0] != unpruned:
            source = self._source if self._pruning is None else self._prune(unpruned)
            number = sum(1 for _ in self._scratch.iterdir())
            self._kept = unpruned, Requantizer(source, self._calls, self._scratch / f"quantize-{number}")
            self._kept[1].skips_quantized = self._skips_quantized
        return self._kept[1]

    def _prune(self, unpruned: Collection[str]) -> Path:
        assert self._pruning is not None
        model = read_model(self._source)
        exclude = (*self._pruning.exclude, *sorted(unpruned))
        prune(model, msgspec.structs.replace(self._pruning, exclude=exclude))
        folder = self._scratch / f"prune-{sum(1 for _ in self._scratch.iterdir())}"
        write_changed(model, self._source, folder, "pruning")
        return folder

    def _weights(self) -> list[list[str]]:
        return [weight.nodes for weight in find_weights(read_model(self._source))]
