"""The data stage: a file, loader or generator becomes calls (inputs), labels and a few probe calls, by content."""

from __future__ import annotations

from pathlib import PurePosixPath

import msgspec

from onnxbuild.base.units import format_size
from onnxbuild.data.edge import Edge, SkippedEdge
from onnxbuild.recipe.types import Axis, DataSource, FileData, Input, LoaderData
from onnxbuild.stages.packages import PRELOAD
from onnxbuild.stages.stage import Stage, Workspace


class DataParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of data. Workspace files: `data` (file data) or `loader` (the user's file).

    `labels` names the array of labels (None: calibration or probe data, no labels). `samples` limits to the first N.
    """

    data: DataSource
    inputs: tuple[Input, ...]
    axes: dict[str, Axis]
    samples: int | None
    labels: str | None


class DataFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was read.

    Outputs, all calls artifacts: `inputs`, `probe` (the first few rows, at several sizes), `edges` (calls at the edges
    of the dynamic axes, of which `edges` tells the sizes; empty without any), and with labels `labels` (one call whose
    array `labels` has those of all samples). `skipped` are edges beyond the budget, for which no call was made.
    `label_counts` maps a class to its count where labels are classes (at most 50), else is empty.
    """

    calls: int
    samples: int
    label_counts: dict[str, int] = {}
    edges: tuple[Edge, ...] = ()
    skipped: tuple[SkippedEdge, ...] = ()


def run(params: DataParams, work: Workspace) -> DataFacts:
    """Read the data once, fit it to the declared inputs, and write it as calls. Raises StageFailure."""
    # numpy is not for those who only plan: the stage table is read by every command.
    from onnxbuild.data.calls import read_calls
    from onnxbuild.data.deliver import deliver, deliver_labels
    from onnxbuild.data.edges import make_edges, write_edges
    from onnxbuild.data.fit import Declared
    from onnxbuild.data.labels import count_classes
    from onnxbuild.data.read import prepare

    declared = Declared(params.inputs, params.axes)
    file = work.files.get("loader" if isinstance(params.data, LoaderData) else "data")
    prepared = prepare(params.data, file, declared, params.labels, params.samples)
    delivered = deliver(prepared, work.output("inputs"), work.output("probe"))
    if params.labels is not None:
        deliver_labels(delivered, params.labels, work.output("labels"))
        declared.missing[params.labels] += delivered.missing_labels
    for name, missing in sorted(declared.missing.items()):
        if missing:
            work.warn("missing-strings", f"'{name}' has {missing} missing strings, which became empty ones")
    if prepared.dropped:
        work.warn("rows-dropped", f"{prepared.dropped} rows at the end of the data fit no call and were left out")
    counts = {} if delivered.labels is None else count_classes(delivered.labels)
    edges = make_edges(read_calls(work.output("inputs")), declared)
    write_edges(work.output("edges"), edges.made)
    for left_out in edges.skipped:
        message = f"{left_out.edge.name} stays unverified: its inputs would take {format_size(left_out.bytes)}"
        work.warn("size-not-tried", message + ", more than the budget for the edges of dynamic axes leaves")
    return DataFacts(
        calls=delivered.calls,
        samples=delivered.samples,
        label_counts=counts,
        edges=tuple(edge for edge, _ in edges.made),
        skipped=tuple(edges.skipped),
    )


def _packages(params: DataParams) -> tuple[str, ...]:
    suffix = PurePosixPath(params.data.path).suffix.lower() if isinstance(params.data, FileData) else ""
    return ("ml-dtypes", "numpy", *{".safetensors": ("safetensors",), ".parquet": ("pyarrow",)}.get(suffix, ()))


DATA = Stage(
    name="data",
    version=2,
    params=DataParams,
    facts=DataFacts,
    run=run,
    packages=_packages,
    preload=lambda _: PRELOAD,
    runs_user_code=lambda params: isinstance(params.data, LoaderData),
)
