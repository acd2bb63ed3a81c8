"""How long it takes to blame the layers of a quantised CNN: 50 convolutions of 1 GMAC in all, 32 samples, goal 30 s.

    python benchmarks/ablation.py [--layers 50] [--samples 32] [--width 64] [--folder DIR]

It runs the blame stage itself, in this process, on a model that is made here: calibration, quantising once per layer,
measuring each on all samples, the timed calls.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from onnxbuild.base.codec import encode
from onnxbuild.data.calls import read_calls, write_calls
from onnxbuild.ir.canonical import canonicalize
from onnxbuild.ir.model import MODEL, write_model
from onnxbuild.ort.session import open_session, run_call
from onnxbuild.recipe.types import OutputTolerance, Quantization, Session, Tolerance
from onnxbuild.stages.blame import BLAME, BlameParams
from onnxbuild.stages.export import ORIGINS
from onnxbuild.stages.proving import Proof
from onnxbuild.stages.stage import Workspace
from onnxbuild.stages.validate import ValidateParams

GOAL = 30.0
SIDE = 24


def network(layers: int, width: int) -> onnx.ModelProto:
    """Return a residual CNN of `layers` convolutions with fixed weights."""
    rng = np.random.default_rng(0)
    nodes, weights, x = [], [], "image"
    for number in range(layers):
        wide = 3 if number == 0 else width
        name = f"block{number}/conv"
        kernel = rng.standard_normal((width, wide, 3, 3)).astype(np.float32) / np.float32(np.sqrt(9 * wide))
        weights += [numpy_helper.from_array(kernel, f"{name}/W")]
        weights += [numpy_helper.from_array(rng.standard_normal(width).astype(np.float32) * 0.1, f"{name}/B")]
        conv = [x, f"{name}/W", f"{name}/B"]
        nodes.append(helper.make_node("Conv", conv, [f"{name}/y"], f"{name}/Conv", pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"{name}/y"], [f"{name}/r"], f"{name}/Relu"))
        x = f"{name}/r"
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pool"], "pool/Pool"))
    nodes.append(helper.make_node("Flatten", ["pool"], ["y"], "flat/Flatten"))
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", width])
    graph = helper.make_graph(nodes, "main", [image], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def workspace(folder: Path, layers: int, width: int, samples: int) -> Workspace:
    """Write the model, its data and its reference below `folder`."""
    model = ir.from_proto(network(layers, width))
    origins = canonicalize(model)
    inputs = {name: folder / name for name in ("model", "calls", "calibration", "reference", "origins")}
    write_model(model, inputs["model"])
    rng = np.random.default_rng(1)
    for name in ("calls", "calibration"):
        images = rng.standard_normal((samples // 8, 8, 3, SIDE, SIDE)).astype(np.float32)
        write_calls(inputs[name], ({"image": each} for each in images))
    session = open_session(inputs["model"] / MODEL, Session(intra_op_threads=os.cpu_count()))
    write_calls(inputs["reference"], (run_call(session, call) for call in read_calls(inputs["calls"])))
    inputs["origins"].mkdir()
    (inputs["origins"] / ORIGINS).write_bytes(encode(origins))
    for name in ("out", "scratch"):
        (folder / name).mkdir()
    return Workspace(inputs, {}, folder / "out", folder / "scratch", folder)


def main() -> None:
    """Build, blame, print the seconds next to the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=50)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: a temporary folder)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as scratch:
        ws = workspace(Path(scratch), chosen.layers, chosen.width, chosen.samples)
        measuring = ValidateParams(
            provider="cpu", session=Session(), metric=None, output=None, axis=-1, average=None, k=5
        )
        proof = Proof(measuring=measuring, tolerance=Tolerance(outputs={"y": OutputTolerance(sqnr_db=40.0)}))
        params = BlameParams(pruning=None, quantization=Quantization(mode="static"), proofs={"cpu": proof})
        began, busy = time.monotonic(), time.process_time()
        facts = BLAME.run(params, ws)
        seconds, busy = time.monotonic() - began, time.process_time() - busy
    weights = chosen.width**2 * 9 * (chosen.layers - 1) + 27 * chosen.width
    model = f"{facts.layers} layers, {weights * SIDE**2 / 1e9:.2f} GMAC, {chosen.samples} samples"
    print(f"{model}, {os.cpu_count()} cores: first {facts.culprits[0].layers[0]} of {facts.measured} restorings")
    print(f"{seconds:.1f} s ({busy:.1f} s of processor time), goal {GOAL:.0f} s")


if __name__ == "__main__":
    main()
