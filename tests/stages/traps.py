"""Small models on which a pass of a real graph tool goes wrong in the installed version, with the raw tool beside.

Each was found by trying the tools on what their rewrite rules match but do not check.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from onnxbuild.recipe.types import OnnxoptimizerPass, OnnxruntimePass, OnnxscriptPass, OnnxslimPass, Pass
from tests.stages.models import floats, model, node, value, weight

Call = dict[str, np.ndarray]
INT64 = onnx.TensorProto.INT64


@dataclass(frozen=True)
class Trap:
    """A model that `step` breaks: `culprit` is the single pass, `code` how; `raw` is the tool called directly."""

    name: str
    step: Pass
    proto: onnx.ModelProto
    calls: list[Call]
    culprit: str
    code: str = "pass-changed-results"
    nodes: int = field(default=2)

    def raw(self, folder: Path) -> onnx.ModelProto:
        """Return what the tool itself makes of the model, with nothing of ours in between."""
        copy = onnx.ModelProto()
        copy.CopyFrom(self.proto)
        return RAW[type(self.step)](copy, self.step, folder)


def outputs(proto: onnx.ModelProto, call: Call) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, call)
    return found


def _onnxoptimizer(proto: onnx.ModelProto, step: Pass, folder: Path) -> onnx.ModelProto:
    import onnxoptimizer

    assert isinstance(step, OnnxoptimizerPass)
    return onnxoptimizer.optimize(proto, None if step.names is None else list(step.names))


def _onnxscript(proto: onnx.ModelProto, step: Pass, folder: Path) -> onnx.ModelProto:
    from onnxscript import optimizer

    return optimizer.optimize(proto)


def _onnxslim(proto: onnx.ModelProto, step: Pass, folder: Path) -> onnx.ModelProto:
    import onnxslim

    return onnxslim.slim(proto)


def _onnxruntime(proto: onnx.ModelProto, step: Pass, folder: Path) -> onnx.ModelProto:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "raw.onnx")
    ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "raw.onnx")


RAW: dict[type[Pass], Callable[[onnx.ModelProto, Pass, Path], onnx.ModelProto]] = {
    OnnxoptimizerPass: _onnxoptimizer,
    OnnxscriptPass: _onnxscript,
    OnnxslimPass: _onnxslim,
    OnnxruntimePass: _onnxruntime,
}


def integers(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def scalar(name: str, number: float, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(number, dtype), name)


def pad_pool() -> onnx.ModelProto:
    """A Pad with zeros before a MaxPool, whose own padding is minus infinity: not the same below zero."""
    return model(
        [
            node("Conv", ["x", "w"], ["h"], name="conv/Conv"),
            node("Identity", ["h"], ["i"], name="drop/Identity"),
            node("Pad", ["i", "p", "zero"], ["a"], name="pad/Pad"),
            node("MaxPool", ["a"], ["m"], name="pool/MaxPool", kernel_shape=[3, 3]),
            node("GlobalAveragePool", ["m"], ["y"], name="end/Pool"),
        ],
        [weight("w", 4, 3, 3, 3), integers("p", 0, 0, 1, 1, 0, 0, 1, 1), scalar("zero", 0.0)],
        inputs=[value("x", "batch", 3, 8, 8)],
        outputs=[value("y", "batch", 4, 1, 1)],
    )


def reshape_zero() -> onnx.ModelProto:
    """Two Reshapes, the second keeping a dim of the first's result: not of the first's input."""
    return model(
        [
            node("Relu", ["x"], ["h"], name="act/Relu"),
            node("Reshape", ["h", "s"], ["a"], name="one/Reshape"),
            node("Reshape", ["a", "t"], ["y"], name="two/Reshape"),
        ],
        [integers("s", 4, -1), integers("t", 0, 2, -1)],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "p", "q", "r")],
    )


def shape_start() -> onnx.ModelProto:
    """A Shape from the second dim on, sliced: the start is forgotten."""
    return model(
        [
            node("Relu", ["x"], ["h"], name="act/Relu"),
            node("Shape", ["x"], ["s"], name="shape/Shape", start=1),
            node("Slice", ["s", "b", "e"], ["d"], name="dim/Slice"),
            node("Cast", ["d"], ["f"], name="dim/Cast", to=1),
            node("Mul", ["h", "f"], ["y"], name="scale/Mul"),
        ],
        [integers("b", 0), integers("e", 1)],
        inputs=[value("x", 2, 4, 3)],
        outputs=[value("y", 2, 4, 3)],
    )


def log_softmax() -> onnx.ModelProto:
    """A Log of a Softmax that leaves its axis to the default."""
    return model(
        [
            node("Relu", ["x"], ["h"], name="act/Relu"),
            node("Softmax", ["h"], ["a"], name="soft/Softmax"),
            node("Log", ["a"], ["l"], name="log/Log"),
            node("Identity", ["l"], ["y"], name="drop/Identity"),
        ],
        inputs=[value("x", "batch", 4)],
        outputs=[value("y", "batch", 4)],
    )


def clip_relu() -> onnx.ModelProto:
    """A Relu of what is clipped to negative numbers."""
    return model(
        [
            node("MatMul", ["x", "w"], ["h"], name="fc/MatMul"),
            node("Clip", ["h", "low", "high"], ["c"], name="clip/Clip"),
            node("Relu", ["c"], ["r"], name="act/Relu"),
            node("Add", ["r", "b"], ["y"], name="fc/Add"),
        ],
        [weight("w", 4, 4), scalar("low", -2.0), scalar("high", -1.0), weight("b", 4)],
        inputs=[value("x", "batch", 4)],
        outputs=[value("y", "batch", 4)],
    )


def conv_mul() -> onnx.ModelProto:
    """A Conv scaled along its width, which has as many columns as the Conv has channels."""
    return model(
        [
            node("Relu", ["x"], ["h"], name="act/Relu"),
            node("Conv", ["h", "w", "k"], ["a"], name="conv/Conv"),
            node("Mul", ["a", "c"], ["m"], name="scale/Mul"),
            node("Relu", ["m"], ["y"], name="end/Relu"),
        ],
        [weight("w", 5, 3, 3, 3), weight("k", 5), weight("c", 5)],
        inputs=[value("x", "batch", 3, 7, 7)],
        outputs=[value("y", "batch", 5, 5, 5)],
    )


def integer_division() -> onnx.ModelProto:
    """A whole-number reciprocal times a number: 7 * (1 // x), not 7 // x."""
    return model(
        [
            node("Abs", ["x"], ["h"], name="abs/Abs"),
            node("Div", ["one", "h"], ["d"], name="inverse/Div"),
            node("Mul", ["d", "seven"], ["y"], name="scale/Mul"),
        ],
        [scalar("one", 1, np.int64), scalar("seven", 7, np.int64)],
        inputs=[value("x", "batch", 4, dtype=INT64)],
        outputs=[value("y", "batch", 4, dtype=INT64)],
    )


def fourth_power() -> onnx.ModelProto:
    """A normalisation by the fourth moment, which looks like LayerNormalization."""
    return model(
        [
            node("ReduceMean", ["x", "ax"], ["mean"], name="mean/ReduceMean"),
            node("Sub", ["x", "mean"], ["c"], name="centre/Sub"),
            node("Pow", ["c", "four"], ["p"], name="moment/Pow"),
            node("ReduceMean", ["p", "ax"], ["m"], name="moment/ReduceMean"),
            node("Add", ["m", "eps"], ["e"], name="eps/Add"),
            node("Sqrt", ["e"], ["s"], name="root/Sqrt"),
            node("Div", ["c", "s"], ["n"], name="norm/Div"),
            node("Mul", ["n", "g"], ["ng"], name="scale/Mul"),
            node("Add", ["ng", "b"], ["y"], name="shift/Add"),
        ],
        [integers("ax", -1), scalar("four", 4.0), scalar("eps", 1e-5), weight("g", 4), weight("b", 4)],
        inputs=[value("x", "batch", 3, 4)],
        outputs=[value("y", "batch", 3, 4)],
    )


def squeeze_all() -> onnx.ModelProto:
    """A Squeeze of whatever has size 1: of the batch too, when there is one row."""
    return model(
        [
            node("MatMul", ["x", "w"], ["h"], name="fc/MatMul"),
            node("Squeeze", ["h"], ["s"], name="squeeze/Squeeze"),
            node("Reshape", ["s", "all"], ["y"], name="flat/Reshape"),
        ],
        [weight("w", 4, 1), integers("all", -1)],
        inputs=[value("x", "batch", 4)],
        outputs=[value("y", "batch")],
    )


IMAGES = floats("x", (1, 3, 8, 8), (3, 3, 8, 8))
ROWS = floats("x", (1, 4), (5, 4))
TRAPS = [
    Trap("pad into max pool", OnnxoptimizerPass(), pad_pool(), IMAGES, "fuse_pad_into_pool"),
    Trap(
        "reshape that keeps a dim",
        OnnxoptimizerPass(),
        reshape_zero(),
        floats("x", (2, 8), (4, 8)),
        "eliminate_consecutive_idempotent_ops",
    ),
    Trap(
        "shape with a start",
        OnnxoptimizerPass(names=("eliminate_identity", "eliminate_slice_after_shape", "eliminate_deadend")),
        shape_start(),
        floats("x", (2, 4, 3)),
        "eliminate_slice_after_shape",
        nodes=3,
    ),
    Trap("log of softmax", OnnxoptimizerPass(), log_softmax(), ROWS, "fuse_consecutive_log_softmax", "tool-failed"),
    Trap("clip below zero", OnnxscriptPass(), clip_relu(), ROWS, "rewrite FuseSuccessiveReluClip"),
    Trap("scaled width", OnnxslimPass(), conv_mul(), floats("x", (1, 3, 7, 7), (2, 3, 7, 7)), "FusionConvMul"),
    Trap("pad into max pool, by the runtime", OnnxruntimePass("basic"), pad_pool(), IMAGES, "Pad_Fusion"),
    Trap(
        "whole-number division",
        OnnxruntimePass("basic"),
        integer_division(),
        [{"x": np.array([[2, 3, 1, 5]], np.int64)}],
        "DivMulFusion",
    ),
    Trap(
        "fourth moment",
        OnnxruntimePass("basic"),
        fourth_power(),
        floats("x", (1, 3, 4), (2, 3, 4)),
        "LayerNormFusionL1",
        nodes=9,
    ),
]
