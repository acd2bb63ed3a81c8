"""The source at edges: loaded once while all goes well, a size it cannot run named, what proves nothing untried."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import pytest

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.edge import Edge
from onnxbuild.recipe.types import Input
from onnxbuild.stages.source_at_edges import SourceAtEdges

X = Input(name="x", dtype="float32", shape=("batch", "length"))
LENGTHS = Input(name="lengths", dtype="int64", shape=("batch",))
Call = Mapping[str, np.ndarray]


def edge(batch: int, length: int) -> tuple[Edge, Call]:
    return Edge(sizes={"batch": batch, "length": length}), {"x": np.ones((batch, length), np.float32)}


EDGES = [edge(1, 8), edge(9, 8), edge(1, 64), edge(64, 64)]


class Source:
    """Doubles its input; `breaks` tells what it says of sizes that it does not take."""

    def __init__(self, breaks: Callable[[int, int], str | None]) -> None:
        self.breaks, self.loaded = breaks, 0

    def run(self, calls: Iterable[Call]) -> Iterator[Call]:
        self.loaded += 1
        for call in calls:
            said = self.breaks(*call["x"].shape)
            if said is not None:
                raise StageFailure("user-code", said, traceback="the user's own")
            yield {"y": call["x"] * 2}


def tried(source: Source, *inputs: Input) -> SourceAtEdges:
    made = SourceAtEdges(source.run, [{"x": np.ones((4, 8), np.float32)}], EDGES)
    assert [call["y"].shape for call in made.on_data()] == [(4, 8)]
    made.at_edges(inputs or (X,), lambda where, outputs: None)
    return made


def test_all_edges_run_with_one_loading() -> None:
    source = Source(lambda batch, length: None)
    made = tried(source)
    assert [found.name for found, _ in made.ran] == [wanted.name for wanted, _ in EDGES]
    assert source.loaded == 1


def test_a_size_that_the_source_cannot_run_is_named_by_what_sound_edges_do_not_share() -> None:
    with pytest.raises(StageFailure) as failure:
        tried(Source(lambda batch, length: "too long" if length > 32 else None))
    assert failure.value.code == "source-fails-at-size"
    said = "the source cannot run at length 64 (nor at batch 64, length 64), which `dynamic_axes` declares: too long"
    assert failure.value.message == said
    assert failure.value.traceback == "the user's own"


def test_a_rank_that_changes_with_the_size_is_a_finding_too() -> None:
    made = SourceAtEdges(Source(lambda batch, length: None).run, [], EDGES)
    list(made.on_data())

    def look(where: str, outputs: Call) -> None:
        if "batch 1, length 8" in where:
            raise StageFailure("source-outputs", f"another rank {where}")

    with pytest.raises(StageFailure, match=r"cannot run at batch 1, length 8.*another rank at batch 1, length 8"):
        made.at_edges((X,), look)
    assert len(made.ran) == 3


def test_too_little_memory_proves_nothing_and_the_rest_is_still_run() -> None:
    source = Source(lambda batch, length: "MemoryError: cannot" if (batch, length) == (9, 8) else None)
    made = tried(source)
    assert [(untried.edge.name, untried.reason) for untried in made.untried] == [
        ("batch 9, length 8", "MemoryError: cannot")
    ]
    assert len(made.ran) == 3
    assert source.loaded == 2


def test_values_that_may_be_positions_along_a_cut_axis_prove_nothing() -> None:
    made = tried(Source(lambda batch, length: "length 8 expected" if length != 8 else None), X, LENGTHS)
    assert [untried.edge.name for untried in made.untried] == ["batch 1, length 64", "batch 64, length 64"]
