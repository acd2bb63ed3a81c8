"""Small real models as artifacts for the tests of steps: built with onnx.helper, canonical, with fixed weights."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from onnxbuild.data.calls import write_calls
from onnxbuild.ir.canonical import canonicalize
from onnxbuild.ir.model import MODEL, read_model, write_model
from onnxbuild.ort.session import UNOPTIMIZED, open_session, run_call
from onnxbuild.stages.stage import Workspace

node = helper.make_node
FLOAT = onnx.TensorProto.FLOAT


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def weight(name: str, *shape: int, scale: float = 0.5, dtype: type = np.float32) -> onnx.TensorProto:
    seed = sum(name.encode())
    return numpy_helper.from_array((random(seed).standard_normal(shape) * scale).astype(dtype), name)


def constant(name: str, *shape: int) -> onnx.NodeProto:
    return node("Constant", [], [name], value=weight(name, *shape), name=f"{name}/Constant")


def value(name: str, *shape: int | str, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[onnx.TensorProto] = (),
    *,
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    opset: int = 20,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Sequence[str] = (),
    metadata: dict[str, str] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "main", list(inputs), list(outputs), list(weights))
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=10, functions=list(functions))
    helper.set_model_props(proto, metadata or {})
    return proto


def mlp(opset: int = 20) -> onnx.ModelProto:
    """Two Gemm layers (8 to 16 to 4), the first's weights in a Constant node."""
    return model(
        [
            constant("fc1.weight", 16, 8),
            node("Gemm", ["x", "fc1.weight", "fc1.bias"], ["h"], name="fc1/Gemm", transB=1),
            node("Relu", ["h"], ["a"], name="act/Relu"),
            node("Gemm", ["a", "fc2.weight", "fc2.bias"], ["y"], name="fc2/Gemm", transB=1),
        ],
        [weight("fc1.bias", 16), weight("fc2.weight", 4, 16), weight("fc2.bias", 4)],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 4)],
        opset=opset,
    )


def cnn() -> onnx.ModelProto:
    """Conv, BatchNormalization, Relu, Conv, pool, MatMul; an Identity and an Add of zero to clean away."""
    ones = numpy_helper.from_array(np.full(8, 1.5, np.float32), "bn.var")
    return model(
        [
            node("Conv", ["image", "conv1.weight", "conv1.bias"], ["c1"], name="conv1/Conv", pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c1", "bn.scale", "bn.bias", "bn.mean", "bn.var"], ["n1"], name="bn/BatchNorm"),
            node("Relu", ["n1"], ["r1"], name="act1/Relu"),
            node("Identity", ["r1"], ["i1"], name="drop/Identity"),
            node("Conv", ["i1", "conv2.weight"], ["c2"], name="conv2/Conv"),
            node("GlobalAveragePool", ["c2"], ["p"], name="pool/Pool"),
            node("Flatten", ["p"], ["f"], name="flat/Flatten"),
            node("MatMul", ["f", "fc.weight"], ["logits"], name="fc/MatMul"),
        ],
        [
            *(weight(n, *s) for n, s in (("conv1.weight", (8, 1, 3, 3)), ("conv1.bias", (8,)), ("bn.scale", (8,)))),
            *(weight(n, *s) for n, s in (("bn.bias", (8,)), ("bn.mean", (8,)), ("conv2.weight", (16, 8, 3, 3)))),
            weight("fc.weight", 16, 10),
            ones,
        ],
        inputs=[value("image", "batch", 1, 8, 8)],
        outputs=[value("logits", "batch", 10)],
        metadata={"team": "kiosk"},
    )


def gelu_block(width: int = 8) -> onnx.ModelProto:
    """Gelu as torch wrote it for BERT: x * 0.5 * (1 + erf(x / sqrt(2)))."""
    scalar = {"half": 0.5, "one": 1.0, "root": float(np.sqrt(2.0))}
    return model(
        [
            node("MatMul", ["x", "w1"], ["h0"], name="up/MatMul"),
            node("Add", ["h0", "b1"], ["h"], name="up/Add"),
            node("Div", ["h", "root"], ["d"], name="gelu/Div"),
            node("Erf", ["d"], ["e"], name="gelu/Erf"),
            node("Add", ["e", "one"], ["p"], name="gelu/Add"),
            node("Mul", ["h", "p"], ["m"], name="gelu/Mul"),
            node("Mul", ["m", "half"], ["g"], name="gelu/Scale"),
            node("MatMul", ["g", "w2"], ["y"], name="down/MatMul"),
        ],
        [
            weight("w1", width, 2 * width),
            weight("b1", 2 * width),
            weight("w2", 2 * width, width),
            *(numpy_helper.from_array(np.array(v, np.float32), k) for k, v in scalar.items()),
        ],
        inputs=[value("x", "batch", "time", width)],
        outputs=[value("y", "batch", "time", width)],
    )


def artifact(folder: Path, proto: onnx.ModelProto) -> Path:
    """Write `proto` as the canonical artifact in `folder`."""
    graph = ir.from_proto(proto)
    canonicalize(graph)
    write_model(graph, folder)
    return folder


def workspace(folder: Path, proto: onnx.ModelProto, calls: Sequence[dict[str, np.ndarray]] = ()) -> Workspace:
    """Return a workspace whose model is `proto` and whose probe and calibration calls are `calls`."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = {"model": artifact(folder / "model", proto)}
    if calls:
        inputs |= {"probe": folder / "calls", "calibration": folder / "calls"}
        write_calls(folder / "calls", calls)
    for name in ("out", "scratch"):
        (folder / name).mkdir()
    return Workspace(inputs, {}, folder / "out", folder / "scratch", folder)


def floats(name: str, *shapes: tuple[int, ...], seed: int = 3) -> list[dict[str, np.ndarray]]:
    source = random(seed)
    return [{name: source.standard_normal(shape).astype(np.float32)} for shape in shapes]


def outputs_of(folder: Path, call: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return run_call(open_session(folder / MODEL, UNOPTIMIZED), call)


def delivered(ws: Workspace) -> ir.Model:
    return read_model(ws.out / "model")


def operators(graph: ir.Model) -> list[str]:
    return [n.op_type for n in ir.traversal.RecursiveGraphIterator(graph.graph)]


def tensor(graph: ir.Model, name: str) -> np.ndarray:
    found = graph.graph.initializers[name].const_value
    assert found is not None
    return found.numpy()


def printed_by_two_processes(script: str, folder: Path) -> list[str]:
    """Return what a script prints in two processes that differ in hash seed and in the folder that each is given."""
    return [
        subprocess.run(
            [sys.executable, "-c", script, str(folder / name)],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
        ).stdout
        for name, seed in (("a", "1"), ("somewhere/else", "2"))
    ]
