"""One walk of a model over the evaluation calls, comparing and scoring as it goes; knows no limits and no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.calls import Call, Calls
from onnxbuild.ort.session import run_call
from onnxbuild.proof.compare import Comparison
from onnxbuild.proof.metrics import Scorer


def walk(
    session: Any,
    calls: Calls,
    reference: Calls,
    comparisons: Sequence[Comparison],
    scored: Mapping[str, Scorer],
) -> Iterator[dict[str, np.ndarray]]:
    """Run every call in `session` (ort.open_session's) and yield its outputs, once compared and, if named, scored.

    `scored` maps an output to its scorer. One call's outputs are held at a time. Raises StageFailure.
    """
    for call, expected in zip(calls, reference, strict=True):
        found = run_call(session, call)
        rows = count_rows(call)
        for comparison in comparisons:
            comparison.add(expected[comparison.name], found[comparison.name], rows)
        for name, scorer in scored.items():
            scorer.add(found[name])
        yield found


def check_reference(names: Iterable[str], calls: Calls, reference: Calls) -> None:
    """Raise StageFailure (`reference-does-not-fit`) unless the reference has these outputs for every call."""
    if set(names) != set(reference.names):
        message = f"the model has the outputs {sorted(names)}, the source {sorted(reference.names)}"
        raise StageFailure("reference-does-not-fit", message)
    if len(calls) != len(reference):
        raise StageFailure("reference-does-not-fit", f"{len(calls)} calls have {len(reference)} reference outputs")


def count_rows(call: Call) -> int:
    """Return the samples of a call: the size of axis 0 where all its arrays share it, else 1."""
    sizes = {array.shape[0] for array in call.values() if array.ndim}
    return sizes.pop() if len(sizes) == 1 else 1
