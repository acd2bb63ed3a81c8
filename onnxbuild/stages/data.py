"""The data stage: a file, loader or generator becomes calls (inputs), labels and a few probe calls, by content."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

import msgspec
import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.calls import Call, write_calls
from onnxbuild.data.cut import Piece
from onnxbuild.data.fit import Declared, as_strings, cast_numbers, describe, does_not_fit
from onnxbuild.data.read import prepare
from onnxbuild.recipe.types import Axis, DataSource, FileData, Input, LoaderData
from onnxbuild.stages.stage import Stage, Workspace

PROBE_CALLS = 3
CLASSES_LISTED = 50


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
    """What was read. Outputs: `inputs` (a calls artifact), `probe` (the first few rows, a calls artifact), `labels` (if any).

    `label_counts` maps a class to its count where labels are classes (at most 50), else is empty.
    """

    calls: int
    samples: int
    label_counts: dict[str, int] = {}


class _Tally:
    """What passes by while calls are written: samples, labels, and the first calls for the probe."""

    def __init__(self) -> None:
        self.samples = 0
        self.labels: list[np.ndarray] = []
        self.first: list[Call] = []

    def watch(self, pieces: Iterator[Piece]) -> Iterator[Call]:
        for piece in pieces:
            self.samples += piece.samples
            if piece.labels is not None:
                self.labels.append(np.atleast_1d(piece.labels))
            if len(self.first) < PROBE_CALLS:
                self.first.append(piece.call)
            yield piece.call


def run(params: DataParams, work: Workspace) -> DataFacts:
    """Read the data once, fit it to the declared inputs, and write it as calls. Raises StageFailure."""
    declared = Declared(params.inputs, params.axes)
    file = work.files.get("loader" if isinstance(params.data, LoaderData) else "data")
    prepared = prepare(params.data, file, declared, params.labels, params.samples)
    tally = _Tally()
    calls = write_calls(work.output("inputs"), tally.watch(prepared.pieces))
    if not calls:
        raise StageFailure("data-is-empty", "the data holds no calls")
    for name, missing in sorted(declared.missing.items()):
        if missing:
            work.warn("missing-strings", f"'{name}' has {missing} missing strings, which became empty ones")
    if prepared.dropped:
        work.warn("rows-dropped", f"{prepared.dropped} rows at the end of the data fit no call and were left out")
    write_calls(work.output("probe"), prepared.probe or tally.first)
    counts: dict[str, int] = {}
    if params.labels is not None:
        labels = _join_labels(tally.labels, params.labels, work)
        write_calls(work.output("labels"), [{"labels": labels}])
        counts = count_classes(labels)
    return DataFacts(calls=calls, samples=tally.samples, label_counts=counts)


def _join_labels(parts: list[np.ndarray], name: str, work: Workspace) -> np.ndarray:
    try:
        labels = np.concatenate(parts)
    except ValueError as error:
        raise does_not_fit(f"the labels '{name}' of all calls make no array: {error}") from None
    if labels.dtype.kind in "OUTS":
        texts, missing = as_strings(labels, f"labels '{name}'")
        if missing:
            work.warn("missing-strings", f"the labels '{name}' have {missing} missing strings, which became empty ones")
        return texts
    if labels.dtype.kind not in "biuf":
        return cast_numbers(labels, "float32", f"labels '{name}': {describe(labels)}")
    return labels


def count_classes(labels: np.ndarray) -> dict[str, int]:
    """Return how many samples each class has, by class in order; empty where labels are no classes or too many."""
    if labels.dtype.kind not in "biuO" or labels.size != labels.shape[0]:
        return {}
    classes, counts = np.unique(labels.reshape(-1), return_counts=True)
    if len(classes) > CLASSES_LISTED:
        return {}
    return {str(name): int(count) for name, count in zip(classes.tolist(), counts.tolist(), strict=True)}


def _packages(params: DataParams) -> tuple[str, ...]:
    suffix = PurePosixPath(params.data.path).suffix.lower() if isinstance(params.data, FileData) else ""
    return ("ml-dtypes", "numpy", *{".safetensors": ("safetensors",), ".parquet": ("pyarrow",)}.get(suffix, ()))


DATA = Stage(
    name="data",
    version=1,
    params=DataParams,
    facts=DataFacts,
    run=run,
    packages=_packages,
    preload=lambda params: ("numpy",),
    runs_user_code=lambda params: isinstance(params.data, LoaderData),
)
