"""The source at the edges of the dynamic axes: what it gives there, and where it cannot run; compares nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.edge import Edge, blame
from onnxbuild.proof.sizes import UntriedEdge, is_of_memory
from onnxbuild.recipe.types import Input

if TYPE_CHECKING:
    import numpy as np

    from onnxbuild.data.calls import Call

Outputs = Mapping[str, "np.ndarray"]
Run = Callable[[Iterable["Call"]], Iterator[Outputs]]


class SourceAtEdges:
    """Runs a source on the data's calls and then on the edges, loading it once as long as nothing fails."""

    def __init__(self, run: Run, calls: Sequence[Call], edges: Sequence[tuple[Edge, Call]]) -> None:
        self._run, self._count, self._edges = run, len(calls), list(edges)
        self._results = run(itertools.chain(calls, (call for _, call in edges)))
        self.ran: list[tuple[Edge, Outputs]] = []
        self.untried: list[UntriedEdge] = []

    def on_data(self) -> Iterator[Outputs]:
        """Yield the outputs of the data's calls; comes before `at_edges`."""
        return itertools.islice(self._results, self._count)

    def at_edges(self, inputs: Sequence[Input], look: Callable[[str, Outputs], None]) -> None:
        """Run every edge; `look` checks outputs, given the words that name the call.

        What ran is in `ran`; where memory did not suffice, or where the values of the data's calls may not fit another
        size, in `untried`. Raises StageFailure (`source-fails-at-size`) where a source cannot run a size at all.
        """
        failed: list[tuple[Edge, StageFailure]] = []
        for number, (edge, _) in enumerate(self._edges):
            try:
                outputs = next(self._results)
                look(f"at {edge.name}", outputs)
            except StageFailure as failure:
                if is_of_memory(failure.message) or _depends_on_values(edge, inputs):
                    self.untried.append(UntriedEdge(edge, " ".join(failure.message.split())))
                else:
                    failed.append((edge, failure))
                self._results = self._run(call for _, call in self._edges[number + 1 :])
                continue
            self.ran.append((edge, outputs))
        if failed:
            raise _cannot_run(failed, [edge for edge, _ in self.ran])


def _depends_on_values(edge: Edge, inputs: Sequence[Input]) -> bool:
    """Tell whether an integer input may hold positions or lengths along an axis that it does not have itself.

    Then a call cut or repeated to another size along that axis may be one that its source rightly refuses.
    """
    axes = set(edge.sizes)
    return any("int" in value.dtype and axes - {first_axis(inputs)} - set(value.shape) for value in inputs)


def first_axis(inputs: Sequence[Input]) -> str | int | None:
    """Return what stands first in the inputs' shapes: rows along it are the data's own, whatever the size."""
    firsts = {value.shape[0] for value in inputs if value.shape}
    return firsts.pop() if len(firsts) == 1 else None


def _cannot_run(failed: Sequence[tuple[Edge, StageFailure]], sound: Sequence[Edge]) -> StageFailure:
    edge, failure = failed[0]
    others = f" (nor at {', '.join(edge.name for edge, _ in failed[1:])})" if len(failed) > 1 else ""
    return StageFailure(
        "source-fails-at-size",
        f"the source cannot run at {blame(edge, sound)}{others}, which `dynamic_axes` declares: {failure.message}",
        hint="narrow the axis in `dynamic_axes` to the sizes that the source takes",
        tool=failure.tool,
        node=failure.node,
        traceback=failure.traceback,
    )
