"""What the tests of TensorFlow's three sources share: requests, data, and a model compared with its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnxruntime import InferenceSession

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ort.session import open_session, run_call
from onnxbuild.recipe.types import Axis, Framework, Input, Output, Source
from onnxbuild.sources.source import SourceKind, SourceRequest

Declared = Mapping[str, tuple[str, tuple[int | str, ...]]]


def make_request(
    framework: Framework, inputs: Declared, outputs: Sequence[str], files: dict[str, Path], **source: Any
) -> SourceRequest:
    return SourceRequest(
        source=Source(framework=framework, **source),
        inputs=tuple(Input(name=n, dtype=d, shape=s) for n, (d, s) in inputs.items()),
        outputs=tuple(Output(name=n) for n in outputs),
        axes={"batch": Axis(max=8, min=2)},
        files=files,
        warn=lambda code, message: None,
    )


def data_for(request: SourceRequest, batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(batch)
    shapes = {i.name: tuple(d if isinstance(d, int) else batch for d in i.shape) for i in request.inputs}
    return {
        i.name: rng.integers(0, 11, shapes[i.name]).astype(i.dtype)
        if "int" in i.dtype
        else rng.standard_normal(shapes[i.name]).astype(i.dtype)
        for i in request.inputs
    }


def assert_same(
    kind: SourceKind,
    request: SourceRequest,
    calls: Sequence[Mapping[str, np.ndarray]],
    folder: Path,
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> InferenceSession:
    """Export, and compare names, dims, dtypes and outputs with the source's own; return the session."""
    references = list(kind.reference(request, calls))
    assert len(references) == len(calls)
    session = open_session(kind.export(request, 20, folder).path)
    assert [v.name for v in session.get_inputs()] == [i.name for i in request.inputs]
    assert [tuple(v.shape) for v in session.get_inputs()] == [i.shape for i in request.inputs]
    assert [v.name for v in session.get_outputs()] == [o.name for o in request.outputs]
    for call, reference in zip(calls, references, strict=True):
        delivered = run_call(session, call)
        assert list(reference) == list(delivered)
        for name, value in reference.items():
            assert delivered[name].dtype == value.dtype
            assert delivered[name].shape == value.shape
            np.testing.assert_allclose(delivered[name], value, rtol=rtol, atol=atol)
    return session


def refused(kind: SourceKind, request: SourceRequest, folder: Path) -> StageFailure:
    with pytest.raises(StageFailure) as caught:
        kind.export(request, 18, folder)
    return caught.value
