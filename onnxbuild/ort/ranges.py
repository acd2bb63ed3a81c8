"""How large the values of a graph's tensors become on given calls, as ONNX Runtime computes them; judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from onnxbuild.base.foreign import foreign_tool
from onnxbuild.ort.exposed import all_outputs
from onnxbuild.ort.session import UNOPTIMIZED, Call, session_options

CHUNK = 64
"""Tensors that are fetched in one run: all of them at once would be all activations in memory."""
FLOATS = ("tensor(float)", "tensor(float16)")


@dataclass(frozen=True)
class Peak:
    """The largest finite magnitude of a tensor, and whether all of its values were finite."""

    largest: float
    is_finite: bool


def measure_peaks(file: Path, calls: Sequence[Call]) -> dict[str, Peak]:
    """Return the peak of every float tensor of the main graph in `file`, inputs and outputs included, over all calls.

    A copy of the graph with all of them as outputs is written beside `file` and run unoptimised.
    """
    peaks: dict[str, Peak] = {}
    with all_outputs(file) as copy, foreign_tool("onnxruntime", file.parent):
        session = ort.InferenceSession(str(copy), session_options(UNOPTIMIZED), providers=["CPUExecutionProvider"])
        inputs = {value.name: value.type for value in session.get_inputs()}
        names = [value.name for value in session.get_outputs() if value.type in FLOATS]
        for call in calls:
            feed = {name: _as_taken(call[name], kind) for name, kind in inputs.items() if name in call}
            for name, array in feed.items():
                if inputs[name] in FLOATS:
                    _note(peaks, name, array)
            for start in range(0, len(names), CHUNK):
                chunk = names[start : start + CHUNK]
                for name, array in zip(chunk, session.run(chunk, feed), strict=True):
                    _note(peaks, name, array)
    return peaks


def _as_taken(array: np.ndarray, kind: str) -> np.ndarray:
    return array.astype(np.float16) if kind == "tensor(float16)" else array


def _note(peaks: dict[str, Peak], name: str, array: np.ndarray) -> None:
    finite = np.isfinite(array)
    largest = float(np.max(np.abs(array), where=finite, initial=0.0))
    before = peaks.get(name, Peak(0.0, is_finite=True))
    peaks[name] = Peak(max(before.largest, largest), before.is_finite and bool(finite.all()))
