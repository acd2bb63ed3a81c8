"""A source taken through the export and reference stages, its ONNX model compared with its own outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxbuild.data.calls import read_calls, write_calls
from onnxbuild.ir.facts import ModelFacts
from onnxbuild.ort.session import open_session, run_call
from onnxbuild.recipe.types import Axis, Function, Input, Output, Source
from onnxbuild.sources.example import example_array
from onnxbuild.stages.export import ExportParams, export_stage
from onnxbuild.stages.reference import REFERENCE, ReferenceFacts, ReferenceParams
from onnxbuild.stages.stage import Workspace

Call = Mapping[str, np.ndarray]


@dataclass
class Proved:
    """What both stages delivered; `got` and `wanted` hold the outputs of each call."""

    facts: ModelFacts
    reference: ReferenceFacts
    model: Path
    origins: dict[str, Any]
    warnings: list[str]
    got: list[dict[str, np.ndarray]]
    wanted: list[dict[str, np.ndarray]]

    def assert_close(self, share: float = 1.0) -> None:
        for got, wanted in zip(self.got, self.wanted, strict=True):
            assert got.keys() == wanted.keys()
            for name, array in wanted.items():
                assert got[name].shape == array.shape, name
                if array.dtype.kind in "iub":
                    assert got[name].dtype == array.dtype, name
                if array.dtype.kind == "f":
                    near = np.isclose(got[name], array, rtol=1e-3, atol=1e-4)
                else:
                    near = got[name] == array
                assert np.mean(near) >= share, (name, got[name], array)


class Recipe:
    """One source with its declared inputs and outputs, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, Path] = {}

    def work(self, **inputs: Path) -> Workspace:
        place = self.folder / f"work{len(list(self.folder.glob('work*')))}"
        (place / "scratch").mkdir(parents=True)
        (place / "out").mkdir()
        return Workspace(inputs, self.files, place / "out", place / "scratch", self.folder)

    def export(
        self,
        source: Source,
        inputs: Sequence[Input],
        outputs: Sequence[str | Output],
        axes: dict[str, Axis] | None = None,
        opset: int | None = 20,
    ) -> tuple[ModelFacts, Workspace]:
        self._find_files(source)
        work = self.work()
        params = ExportParams(
            source=source,
            inputs=tuple(inputs),
            outputs=_outputs(outputs),
            axes=_axes(axes),
            opset=opset,
            ir_version=None,
        )
        return export_stage(source.framework).run(params, work).model, work

    def prove(
        self,
        source: Source,
        inputs: Sequence[Input],
        outputs: Sequence[str | Output],
        axes: dict[str, Axis] | None = None,
        opset: int | None = 20,
        calls: Sequence[Call] | None = None,
    ) -> Proved:
        """Run both stages; without `calls`, at three sizes of each axis."""
        facts, exported = self.export(source, inputs, outputs, axes, opset)
        if calls is None:
            calls = [
                {v.name: example_array(v, {n: _at(a, k) for n, a in _axes(axes).items()}) for v in inputs}
                for k in (0, 1, 2)
            ]
        write_calls(self.folder / "calls", calls)
        work = self.work(calls=self.folder / "calls")
        reference = REFERENCE.run(ReferenceParams(source=source, inputs=tuple(inputs), outputs=_outputs(outputs)), work)
        model = exported.out / "model" / "model.onnx"
        session = open_session(model)
        return Proved(
            facts=facts,
            reference=reference,
            model=model,
            origins=json.loads((exported.out / "origins" / "origins.json").read_bytes()),
            warnings=[f"{w.code}: {w.message}" for w in (*exported.warnings, *work.warnings)],
            got=[run_call(session, call) for call in calls],
            wanted=[dict(call) for call in read_calls(work.out / "outputs")],
        )

    def _find_files(self, source: Source) -> None:
        named = {"factory": source.factory and source.factory.file, "weights": source.weights, "path": source.path}
        self.files = {label: self.folder / name for label, name in named.items() if name}


def _outputs(outputs: Sequence[str | Output]) -> tuple[Output, ...]:
    return tuple(Output(name=o) if isinstance(o, str) else o for o in outputs)


def _axes(axes: dict[str, Axis] | None) -> dict[str, Axis]:
    return {"batch": Axis(max=16)} if axes is None else axes


def _at(axis: Axis, place: int) -> int:
    step = axis.multiple_of
    low, high = -(-axis.min // step), axis.max // step
    return step * (low, (low + high) // 2, high)[place]


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return Recipe(tmp_path)


@pytest.fixture
def factory(tmp_path: Path) -> Any:
    """Write a module of factories and return the function that names one of them."""

    def name(text: str, function: str, **args: Any) -> Function:
        file = f"factory_{tmp_path.parent.name}_{tmp_path.name}.py".replace("-", "_")
        (tmp_path / file).write_text(text)
        return Function(file, function, args)

    return name
