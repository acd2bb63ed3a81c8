"""The data stage: a file, loader or generator becomes calls (inputs), labels and a few probe calls, by content."""

from __future__ import annotations

import msgspec

from onnxbuild.recipe.types import Axis, DataSource, Input


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
