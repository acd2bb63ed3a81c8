"""The reference stage: the source framework's own outputs on the data's calls and at edges; compares nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.proof.sizes import UntriedEdge
from onnxbuild.recipe.types import Input, Output, Source
from onnxbuild.sources.needs import NEEDS
from onnxbuild.sources.source import SourceRequest
from onnxbuild.stages.export import runs_user_code
from onnxbuild.stages.stage import Stage, Workspace

if TYPE_CHECKING:
    import numpy as np


class ReferenceParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of reference. Workspace files as in export; inputs: `calls` and `edges`."""

    source: Source
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]


class ReferenceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was run. Outputs: `outputs` (a calls artifact: one mapping of output arrays per call), and so `edges`.

    `nonfinite` counts NaN and infinities by output; `untried` are the edges at which the source gave nothing.
    """

    calls: int
    nonfinite: dict[str, int] = {}
    untried: tuple[UntriedEdge, ...] = ()


class _Watch:
    """What passes by while outputs are written: their names, dtypes and ranks, which no call may change."""

    def __init__(self, names: list[str]) -> None:
        self.nonfinite = dict.fromkeys(names, 0)
        self._seen: dict[str, tuple[str, int]] = {}

    def watch(self, outputs: Iterable[Mapping[str, np.ndarray]]) -> Iterator[Mapping[str, np.ndarray]]:
        import numpy as np

        for index, call in enumerate(outputs):
            self.look(f"in call {index}", call)
            for name, array in call.items():
                if array.dtype.kind in "fc":
                    self.nonfinite[name] += int(array.size - np.count_nonzero(np.isfinite(array)))
            yield call

    def look(self, where: str, call: Mapping[str, np.ndarray]) -> None:
        """Raise StageFailure (`source-outputs`) unless names, dtypes and ranks are those of the first call."""
        from onnxbuild.data.calls import dtype_name

        if list(call) != list(self.nonfinite):
            raise StageFailure(
                "source-outputs",
                f"{where} the outputs are {', '.join(call)}, the recipe names {', '.join(self.nonfinite)}",
            )
        for name, array in call.items():
            try:
                dtype = dtype_name(array)
            except TypeError as error:
                raise StageFailure("source-outputs", f"output {name} {where}: {error}") from None
            first = self._seen.setdefault(name, (dtype, array.ndim))
            if first != (dtype, array.ndim):
                raise StageFailure(
                    "source-outputs",
                    f"output {name} is {first[0]} of rank {first[1]} in call 0 and {dtype} of rank {array.ndim} "
                    f"{where}; an ONNX output has one dtype and one rank",
                )


def run(params: ReferenceParams, work: Workspace) -> ReferenceFacts:
    """Run the source on every call, then at every edge, and write what it gives. Raises StageFailure."""
    from onnxbuild.data.calls import read_calls, write_calls
    from onnxbuild.data.edges import read_edges, write_edges
    from onnxbuild.sources.table import source_kind
    from onnxbuild.stages.source_at_edges import SourceAtEdges

    kind = source_kind(params.source.framework)
    request = SourceRequest(
        source=params.source,
        inputs=params.inputs,
        outputs=params.outputs,
        axes={},
        files=work.files,
        warn=work.warn,
        saw=work.saw,
        used=work.used,
    )
    calls = read_calls(work.inputs["calls"])
    seen = _Watch([output.name for output in params.outputs])
    edges = read_edges(work.inputs["edges"]) if "edges" in work.inputs else []
    source = SourceAtEdges(lambda some: kind.reference(request, some), calls, edges)
    count = write_calls(work.output("outputs"), seen.watch(source.on_data()))
    if count != len(calls):
        raise StageFailure("source-outputs", f"the source gave {count} results for {len(calls)} calls")
    nonfinite = {name: number for name, number in seen.nonfinite.items() if number}
    for name, number in nonfinite.items():
        work.warn("nonfinite", f"the source's own output {name} has {number} values that are NaN or infinite")
    source.at_edges(params.inputs, seen.look)
    write_edges(work.output("edges"), source.ran)
    for untried in source.untried:
        work.warn("size-not-tried", f"{untried.edge.name} stays unverified: {untried.reason}")
    return ReferenceFacts(calls=count, nonfinite=nonfinite, untried=tuple(source.untried))


REFERENCE = Stage(
    name="reference",
    version=2,
    params=ReferenceParams,
    facts=ReferenceFacts,
    run=run,
    packages=lambda params: NEEDS[params.source.framework].reference,
    preload=lambda params: NEEDS[params.source.framework].preload,
    runs_user_code=lambda params: runs_user_code(params.source),
    seconds=2.0,
)
