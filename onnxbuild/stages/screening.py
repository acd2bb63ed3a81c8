"""A part of the evaluation data, spread over all of it: enough to rank models by; no gate is decided on it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnxbuild.stages.proving import Prover
from onnxbuild.stages.stage import Workspace

if TYPE_CHECKING:
    from onnxbuild.proof.ablation import Measured

SAMPLES = 256
"""About so many samples are enough to rank; one call that holds more is taken whole."""


def fewer_samples(ws: Workspace, worth: int = SAMPLES) -> tuple[Workspace, int]:
    """Return a workspace with some of the calls, taken from all over the data, and how many samples they have.

    Data of at most `worth` samples is taken as it is: the workspace is `ws` itself then.
    """
    import numpy as np

    from onnxbuild.data.calls import read_calls, write_calls
    from onnxbuild.proof.walk import count_rows

    calls = read_calls(ws.inputs["calls"])
    rows = [count_rows(call) for call in calls]
    number = max(1, len(rows) * SAMPLES // max(1, sum(rows)))
    if sum(rows) <= worth or number >= len(rows):
        return ws, sum(rows)
    chosen = [i * len(rows) // number for i in range(number)]
    inputs = dict(ws.inputs)
    for label in ("calls", "reference"):
        inputs[label] = ws.scratch / "fewer" / label
        every = read_calls(ws.inputs[label])
        write_calls(inputs[label], (every[i] for i in chosen))
    if "labels" in inputs:
        labels = read_calls(ws.inputs["labels"])[0]["labels"]
        inputs["labels"] = ws.scratch / "fewer" / "labels"
        ends = np.cumsum(rows)
        parts = [labels[ends[i] - rows[i] : ends[i]] for i in chosen]
        write_calls(inputs["labels"], [{"labels": np.concatenate(parts)}])
    return replace(ws, inputs=inputs), sum(rows[i] for i in chosen)


class Screen:
    """Measures models on a part of the data first: one that misses the tolerance there is not measured on the rest.

    What a part cannot tell, as of a metric that needs classes which it lacks, all of the data tells.
    """

    def __init__(self, part: Prover, whole: Prover) -> None:
        self._part, self._whole = part, whole

    def measure(self, folder: Path) -> Measured:
        """Return what the model in `folder` comes to: on the whole where it meets the tolerance. As a Prover's."""
        measured = self._part.measure(folder)
        is_missed = not measured.meets and math.isfinite(measured.use)
        return measured if is_missed else self._whole.measure(folder)
