"""Traps of the raw quantisers, each asserted beside what the quantize stage delivers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static

from onnxbuild.recipe.types import Quantization
from onnxbuild.stages.quantize import QUANTIZE, QuantizeFacts, QuantizeParams
from onnxbuild.stages.stage import Workspace
from tests.stages.models import cnn, constant, floats, model, node, value, workspace

ROWS = floats("x", (1, 8), (5, 8))


class Reader(CalibrationDataReader):
    def __init__(self, calls: list[dict[str, np.ndarray]]) -> None:
        self.left = iter(calls)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.left, None)


def ours(
    folder: Path, proto: onnx.ModelProto, calls: list[dict[str, np.ndarray]], mode: str
) -> tuple[QuantizeFacts, Workspace]:
    ws = workspace(folder, proto, calls)
    return QUANTIZE.run(QuantizeParams(quantization=Quantization(mode=mode)), ws), ws


def scaled(factor: float) -> list[dict[str, np.ndarray]]:
    return [{"image": call["image"] * np.float32(factor)} for call in floats("image", (3, 1, 8, 8), (3, 1, 8, 8))]


def test_the_tools_calibration_cache_ignores_the_data_and_ours_does_not(tmp_path: Path) -> None:
    onnx.save(cnn(), tmp_path / "m.onnx")
    raw = []
    for factor in (1.0, 100.0):
        out = tmp_path / f"raw-{factor}.onnx"
        cache = tmp_path / "calibration.cache"
        quantize_static(tmp_path / "m.onnx", out, Reader(scaled(factor)), calibration_cache_path=cache)
        raw.append(out.read_bytes())
    assert raw[0] == raw[1], "data a hundred times as large made the same model"
    models = [
        (ours(tmp_path / str(factor), cnn(), scaled(factor), "static")[1].out / "model/model.onnx").read_bytes()
        for factor in (1.0, 100.0)
    ]
    assert models[0] != models[1]


def test_the_dynamic_tool_passes_over_constant_weights_silently_and_ours_quantizes_them(tmp_path: Path) -> None:
    proto = model(
        [constant("w", 8, 8), node("MatMul", ["x", "w"], ["y"], name="fc/MatMul")],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 8)],
    )
    onnx.save(proto, tmp_path / "m.onnx")
    quantize_dynamic(tmp_path / "m.onnx", tmp_path / "raw.onnx")
    assert [n.op_type for n in onnx.load(tmp_path / "raw.onnx").graph.node] == ["Constant", "MatMul"]
    facts, _ = ours(tmp_path / "ours", proto, ROWS, "dynamic")
    assert facts.quantized == {"MatMul": 1}
    assert facts.left == ()


def test_the_static_tool_leaves_constant_weights_in_float_silently_and_ours_quantizes_them(tmp_path: Path) -> None:
    proto = model(
        [constant("w", 8, 64), node("MatMul", ["x", "w"], ["y"], name="fc/MatMul")],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 64)],
    )
    onnx.save(proto, tmp_path / "m.onnx")
    quantize_static(tmp_path / "m.onnx", tmp_path / "raw.onnx", Reader(ROWS))
    raw = onnx.load(tmp_path / "raw.onnx")
    assert any(n.op_type == "Constant" for n in raw.graph.node), "the weight is still a Constant in float"
    facts, ws = ours(tmp_path / "ours", proto, ROWS, "static")
    assert facts.quantized == {"MatMul": 1}
    assert facts.left == ()
    size = (ws.out / "model/model.onnx").stat().st_size
    assert size < (tmp_path / "raw.onnx").stat().st_size
