"""Workspaces for the stages that measure many models, on models that have one bad layer by design."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from onnxbuild.base.codec import encode
from onnxbuild.data.calls import write_calls
from onnxbuild.ir.facts import Origin
from onnxbuild.recipe.types import OutputTolerance, Session, Tolerance
from onnxbuild.stages.export import ORIGINS
from onnxbuild.stages.proving import Proof
from onnxbuild.stages.stage import Workspace
from onnxbuild.stages.validate import ValidateParams
from tests.stages.models import artifact, model, node, outputs_of, random, value, weight


def joined() -> onnx.ModelProto:
    """Return a model in which a Concat puts features of about 1 beside one of hundreds, before `fc2`.

    Of the hundreds `fc2` takes little, so that the small features decide, and on one scale of 256 steps they vanish.
    """
    tail = random(5).standard_normal((17, 4)).astype(np.float32) * 0.5
    tail[16] = 1e-4
    return model(
        [
            node("Gemm", ["x", "w1", "b1"], ["h"], name="fc1/Gemm"),
            node("Relu", ["h"], ["a"], name="act/Relu"),
            node("ReduceSum", ["x", "axes"], ["s"], name="ink/ReduceSum", keepdims=1),
            node("Mul", ["s", "counts"], ["ink"], name="ink/Mul"),
            node("Concat", ["a", "ink"], ["j"], name="Concat", axis=1),
            node("Gemm", ["j", "w2", "b2"], ["g"], name="fc2/Gemm"),
            node("Tanh", ["g"], ["t"], name="tanh/Tanh"),
            node("Gemm", ["t", "w3", "b3"], ["y"], name="fc3/Gemm"),
        ],
        [
            *(weight(n, *s) for n, s in (("w1", (8, 16)), ("b1", (16,)), ("b2", (4,)), ("w3", (4, 3)), ("b3", (3,)))),
            numpy_helper.from_array(tail, "w2"),
            numpy_helper.from_array(np.array([1], np.int64), "axes"),
            numpy_helper.from_array(np.array(200, np.float32), "counts"),
        ],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 3)],
    )


def bench(
    folder: Path,
    proto: onnx.ModelProto,
    calls: list[dict[str, np.ndarray]],
    origins: dict[str, Origin] | None = None,
) -> Workspace:
    """Return a workspace with the model in float, its own outputs as the reference, and `calls` for all data."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = {"model": artifact(folder / "model", proto)}
    for name in ("calls", "calibration"):
        inputs[name] = folder / name
        write_calls(inputs[name], calls)
    inputs["reference"] = folder / "reference"
    write_calls(inputs["reference"], (outputs_of(inputs["model"], call) for call in calls))
    inputs["origins"] = folder / "origins"
    inputs["origins"].mkdir()
    (inputs["origins"] / ORIGINS).write_bytes(encode(origins or {}))
    for name in ("out", "scratch"):
        (folder / name).mkdir()
    return Workspace(inputs, {}, folder / "out", folder / "scratch", folder)


def proofs(**limits: float) -> dict[str, Proof]:
    """Return the tolerance of the output `y` on the CPU, and one for a provider that nobody has."""
    measuring = ValidateParams(provider="cpu", session=Session(), metric=None, output=None, axis=-1, average=None, k=5)
    return {"cpu": Proof(measuring=measuring, tolerance=Tolerance(outputs={"y": OutputTolerance(**limits)}))}
