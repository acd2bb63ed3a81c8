"""Prepared data to artifacts: calls one at a time, with the probe and labels taken in passing; knows no stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.calls import Call, write_calls
from onnxbuild.data.cut import Piece, Prepared
from onnxbuild.data.labels import join_labels

PROBE_CALLS = 3


@dataclass
class Delivered:
    """What was written: calls, samples, the labels (None without), and the missing strings of the labels."""

    calls: int = 0
    samples: int = 0
    labels: np.ndarray | None = None
    missing_labels: int = 0
    _parts: list[np.ndarray] = field(default_factory=list)
    _first: list[Call] = field(default_factory=list)

    def watch(self, pieces: Iterator[Piece]) -> Iterator[Call]:
        """Pass the pieces' calls on, counting them."""
        for piece in pieces:
            self.samples += piece.samples
            if piece.labels is not None:
                self._parts.append(piece.labels)
            if len(self._first) < PROBE_CALLS:
                self._first.append(piece.call)
            yield piece.call


def deliver(prepared: Prepared, inputs: Path, probe: Path) -> Delivered:
    """Write the calls to `inputs` and a few small ones to `probe`; raises StageFailure (`data-is-empty`)."""
    delivered = Delivered()
    delivered.calls = write_calls(inputs, delivered.watch(prepared.pieces))
    if not delivered.calls:
        raise StageFailure("data-is-empty", "the data holds no calls")
    write_calls(probe, prepared.probe or delivered._first)
    return delivered


def deliver_labels(delivered: Delivered, name: str, folder: Path) -> None:
    """Write the labels of all kept samples as one call with the array `labels`; raises StageFailure."""
    delivered.labels, delivered.missing_labels = join_labels(delivered._parts, name)
    write_calls(folder, [{"labels": delivered.labels}])
