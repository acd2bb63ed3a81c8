"""One model at the edges of its dynamic axes, compared with what its source gave there; knows no limits, no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.calls import Call
from onnxbuild.data.edge import Edge
from onnxbuild.ort.session import run_call
from onnxbuild.proof.compare import measure
from onnxbuild.proof.sizes import SizedOutput, SizeMeasures, is_of_memory

Sized = tuple[Edge, Call]


def measure_sizes(
    session: Any, edges: Iterable[Sized], reference: Sequence[Sized], axis: int
) -> Iterator[SizeMeasures]:
    """Run every edge that the source ran in `session` and yield what came of it; a crash is a finding, not raised."""
    expected = {edge.name: outputs for edge, outputs in reference}
    declared = {value.name: tuple(value.shape or ()) for value in session.get_outputs()}
    for edge, call in edges:
        if edge.name not in expected:
            continue
        try:
            found = run_call(session, call)
        except StageFailure as failure:
            said = " ".join(failure.message.split())
            untried = is_of_memory(said)
            yield SizeMeasures(edge=edge, failure=None if untried else said, untried=said if untried else None)
            continue
        outputs = [
            msgspec.structs.replace(one, misdeclared=_misdeclared(declared[one.name], one.shape, edge))
            for one in _compare(expected[edge.name], found, axis)
        ]
        yield SizeMeasures(edge=edge, outputs=tuple(outputs))


def _compare(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], axis: int) -> Iterator[SizedOutput]:
    for name, delivered in found.items():
        wanted = np.asarray(expected[name])
        one = SizedOutput(name=name, shape=delivered.shape, expected=wanted.shape)
        if delivered.shape != wanted.shape:
            yield one
            continue
        measures = measure(name, [(wanted, delivered)], axis=axis)
        nonfinite = _nonfinite(wanted, delivered) if measures.max_abs is not None else 0
        measures = msgspec.structs.replace(measures, histogram=(), worst_sample=None)
        yield msgspec.structs.replace(one, nonfinite=nonfinite, measures=measures)


def _misdeclared(declared: tuple[int | str | None, ...], shape: tuple[int, ...], edge: Edge) -> str | None:
    """Say which axis is another in the model's declaration than in what it gives: static for dynamic, or reverse."""
    for axis, (dim, size) in enumerate(zip(declared, shape, strict=False)):
        if isinstance(dim, int) and dim != size:
            return f"axis {axis} is declared to be {dim} and is {size}"
        if isinstance(dim, str) and edge.sizes.get(dim, size) != size:
            return f"axis {axis} is declared to be '{dim}', which is {edge.sizes[dim]}, and is {size}"
    return None


def _nonfinite(wanted: np.ndarray, delivered: np.ndarray) -> int:
    finite = np.isfinite(wanted.astype(np.float64))
    return int(np.count_nonzero(finite & ~np.isfinite(delivered.astype(np.float64))))
