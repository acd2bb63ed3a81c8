"""What activations say is wrong: on this CNN their SQNR blames a layer whose exclusion changes next to nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxbuild.data.calls import read_calls
from onnxbuild.ir.model import MODEL
from onnxbuild.ort.session import open_session, run_call
from onnxbuild.recipe.types import Quantization
from onnxbuild.stages.blame import BLAME, BlameParams
from onnxbuild.stages.quantizing import quantize_model
from onnxbuild.stages.stage import Workspace
from tests.stages.models import model, node, random, value, weight
from tests.stages.searching import bench, proofs

STATIC = Quantization(mode="static")
MAKERS = {"side.c": "side", "side.r": "side", "main.c": "main", "main.r": "main", "h": "fc", "ink.c": "ink"}


def cnn() -> onnx.ModelProto:
    """Return a CNN of three branches.

    `side` counts for a thousandth, and a rare spike in its input sets its range: its activations look terrible. `fc`
    reads features of about 1 and one of hundreds from one Concat: the tensor's SQNR is excellent, for the large one
    dominates it, and the small ones that decide are gone.
    """
    join = random(7).standard_normal((7, 4)).astype(np.float32)
    join[6] = 3e-4
    ink = np.full((1, 1, 1, 1), 300.0, np.float32)
    return model(
        [
            node("Conv", ["image", "main.w"], ["main.c"], name="main/Conv"),
            node("Relu", ["main.c"], ["main.r"], name="main/Relu"),
            node("GlobalAveragePool", ["main.r"], ["main.p"], name="main/Pool"),
            node("Conv", ["image", "ink.w"], ["ink.c"], name="ink/Conv"),
            node("GlobalAveragePool", ["ink.c"], ["ink.p"], name="ink/Pool"),
            node("Concat", ["main.p", "ink.p"], ["j"], name="Concat", axis=1),
            node("Flatten", ["j"], ["f"], name="Flatten"),
            node("Gemm", ["f", "fc.w"], ["h"], name="fc/Gemm"),
            node("Conv", ["extra", "side.w"], ["side.c"], name="side/Conv"),
            node("Relu", ["side.c"], ["side.r"], name="side/Relu"),
            node("GlobalAveragePool", ["side.r"], ["side.p"], name="side/Pool"),
            node("Flatten", ["side.p"], ["side.f"], name="side/Flatten"),
            node("Gemm", ["side.f", "out.w"], ["s"], name="out/Gemm"),
            node("Add", ["h", "s"], ["y"], name="Add"),
        ],
        [
            weight("main.w", 6, 1, 3, 3, scale=0.3),
            weight("side.w", 6, 1, 3, 3, scale=0.3),
            numpy_helper.from_array(ink, "ink.w"),
            numpy_helper.from_array(join, "fc.w"),
            weight("out.w", 6, 4, scale=1e-3),
        ],
        inputs=[value("image", "batch", 1, 6, 6), value("extra", "batch", 1, 6, 6)],
        outputs=[value("y", "batch", 4)],
    )


def images(spike: float) -> list[dict[str, np.ndarray]]:
    """Return 32 pairs of images, one of which has a pixel as bright as `spike` in its second."""
    image, extra = random(11).random((2, 32, 1, 6, 6)).astype(np.float32)
    extra[0, 0, 3, 3] = spike
    return [{"image": image, "extra": extra}]


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    from onnxbuild.data.calls import write_calls

    ws = bench(tmp_path, cnn(), images(spike=1.0))
    write_calls(ws.inputs["calibration"], images(spike=300.0))
    return ws


def worst_activation(ws: Workspace, quantized: Path, folder: Path) -> str:
    """Return the layer whose activation ONNX Runtime's own debugger finds furthest from the float model's, in dB."""
    from onnxruntime.quantization import qdq_loss_debug as debug

    class Reader(debug.CalibrationDataReader):  # type: ignore[misc, name-defined]  # onnxruntime is untyped
        def __init__(self) -> None:
            self._calls = iter(images(spike=1.0))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._calls, None)

    found = {}
    for name, source in (("float", ws.inputs["model"]), ("quantized", quantized)):
        debug.modify_model_output_intermediate_tensors(str(source / MODEL), str(folder / f"{name}.onnx"))
        found[name] = debug.collect_activations(str(folder / f"{name}.onnx"), Reader())
    errors = debug.compute_activation_error(debug.create_activation_matching(found["quantized"], found["float"]))
    known = {tensor: error["xmodel_err"] for tensor, error in errors.items() if tensor in MAKERS}
    assert {"side", "fc"} <= {MAKERS[tensor] for tensor in known}
    return MAKERS[min(known, key=lambda tensor: float(known[tensor]))]


def decibels(ws: Workspace, folder: Path) -> float:
    """Return the SQNR of the output of the model in `folder`, as it runs by default."""
    call, expected = read_calls(ws.inputs["calls"])[0], read_calls(ws.inputs["reference"])[0]["y"]
    noise = run_call(open_session(folder / MODEL), call)["y"] - expected
    return float(10 * np.log10((expected**2).sum() / (noise**2).sum()))


def test_activation_sqnr_blames_the_wrong_layer_and_ablation_the_right_one(ws: Workspace, tmp_path: Path) -> None:
    calls = read_calls(ws.inputs["calibration"])

    def without(name: str, *nodes: str) -> float:
        return decibels(ws, quantize_model(ws.inputs["model"], STATIC, nodes, calls, tmp_path / name).folder)

    whole = quantize_model(ws.inputs["model"], STATIC, (), calls, tmp_path / "whole").folder
    before = decibels(ws, whole)
    assert worst_activation(ws, whole, tmp_path) == "side"
    assert abs(without("side", "side/Conv", "side/Relu", "side/Pool") - before) < 1, "the layer it blames is harmless"
    facts = BLAME.run(BlameParams(pruning=None, quantization=STATIC, proofs=proofs(sqnr_db=40.0)), ws)
    first = facts.culprits[0]
    assert first.layers == ("fc",)
    assert without("fc", *first.nodes) > before + 30
