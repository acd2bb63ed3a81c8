"""What every source framework offers: its model as raw ONNX, its own outputs, what a file tells; knows none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from onnxbuild.recipe.types import Axis, Input, Output, Source
from onnxbuild.sources.description import SourceFacts

if TYPE_CHECKING:
    import numpy as np

    from onnxbuild.ort.session import Call


@dataclass(frozen=True)
class SourceRequest:
    """What a source needs to load its model.

    `files` holds 'factory', 'weights' and 'path' where the source has them, as absolute paths. `warn` takes a
    kebab-case code and one sentence; `saw` a further file that belongs to the model, such as its external data; `used`
    a module that the model's file calls for, beyond what every model of its framework needs.
    """

    source: Source
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    axes: dict[str, Axis]
    files: dict[str, Path]
    warn: Callable[[str, str], None]
    saw: Callable[[Path], None] = lambda path: None
    used: Callable[[str], None] = lambda module: None


@dataclass(frozen=True)
class ExportedModel:
    """A raw ONNX file as the converter wrote it, not yet canonical.

    `modules` are the names of the source's layers where it knows them, by which the canonical form tells names
    that the converter counted. `notes` are remarks for the trace, such as a step that the converter took by itself.
    """

    path: Path
    modules: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class SourceKind(Protocol):
    """One framework, without state: what it needs installed, its export and its own outputs.

    `packages` are the distributions whose versions enter the key of export, `preload` the modules that a worker
    imports before it forks, `extra` the extra of onnxbuild that installs them ('' when none is needed).
    Importing the module of a kind does not import its framework.
    """

    @property
    def packages(self) -> tuple[str, ...]:
        """The distributions whose versions enter the key."""
        ...

    @property
    def preload(self) -> tuple[str, ...]:
        """The modules that a worker imports before it forks."""
        ...

    @property
    def extra(self) -> str:
        """The extra of onnxbuild that brings the framework: 'torch', 'tensorflow', 'sklearn' or ''."""
        ...

    def export(self, request: SourceRequest, opset: int | None, folder: Path) -> ExportedModel:
        """Write the model as ONNX below `folder`; inputs and outputs in the recipe's order where names do not tell.

        `opset` is what the recipe wants (None: the source's own); the nearest that the converter can deliver is
        enough, for the stage converts afterwards. Raises StageFailure.
        """
        ...

    def describe(self, request: SourceRequest) -> SourceFacts:
        """Return what the saved model of `request` tells of itself; its inputs and outputs are empty. StageFailure."""
        ...

    def reference(self, request: SourceRequest, calls: Iterable[Call]) -> Iterator[dict[str, np.ndarray]]:
        """Yield the framework's own outputs, by the recipe's names, one mapping for each call. Raises StageFailure."""
        ...
