"""A chain of four passes that leave the weights alone, over a 2.3 GB model: growth of the store and peak of memory.

    python benchmarks/large_model.py [--gigabytes 2.3] [--folder DIR] [--keep]

Peak memory is the sum of the proportional set sizes of all processes of the make, looked at ten times a second.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper

WIDTH = 5000
LAYER = WIDTH * WIDTH * 4
RECIPE = """\
format: 1
source: {framework: onnx, path: models/large.onnx}
inputs: {x: {dtype: float32, shape: [batch, 5000]}}
outputs: [y]
dynamic_axes: {batch: {max: 8}}
opset: 20
passes:
  - custom: {function: "passes.py:drop", args: {name: spare0}}
  - custom: {function: "passes.py:drop", args: {name: spare1}}
  - custom: {function: "passes.py:drop", args: {name: spare2}}
  - {onnxscript: optimize}
evaluation: {data: data/test.npz}
"""
PASSES = '''\
"""Graph-only passes: each drops one Identity."""

import onnx_ir as ir


def drop(model: ir.Model, name: str) -> ir.Model:
    """Drop the Identity node called `name`."""
    node = next(node for node in model.graph if node.name == name)
    ir.convenience.replace_all_uses_with(node.outputs[0], node.inputs[0])
    model.graph.remove(node, safe=True)
    return model
'''


def write_model(file: Path, layers: int) -> None:
    """Write an MLP of so many layers of 100 MB, with an Identity after each of the first four."""
    rng = np.random.default_rng(0)
    nodes, initializers, before = [], [], "x"
    with file.with_name("large.onnx.data").open("wb") as data:
        for layer in range(layers):
            tensor = TensorProto(name=f"w{layer}", data_type=TensorProto.FLOAT, dims=[WIDTH, WIDTH])
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "large.onnx.data"), ("offset", data.tell()), ("length", LAYER)):
                tensor.external_data.add(key=key, value=str(value))
            initializers.append(tensor)
            data.write((rng.standard_normal((WIDTH, WIDTH), np.float32) / np.float32(WIDTH**0.5)).tobytes())
            after = "y" if layer == layers - 1 else f"h{layer}"
            nodes.append(helper.make_node("MatMul", [before, f"w{layer}"], [after], f"layer{layer}"))
            if layer < min(4, layers - 1):
                nodes.append(helper.make_node("Identity", [after], [f"i{layer}"], f"spare{layer}"))
                after = f"i{layer}"
            before = after
    shape = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDTH]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "large", [shape[0]], [shape[1]], initializers)
    file.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )


def write_project(root: Path, gigabytes: float) -> int:
    """Write the project and return the bytes of its model."""
    for folder in ("recipes/models", "recipes/data"):
        (root / folder).mkdir(parents=True)
    write_model(root / "recipes/models/large.onnx", max(5, round(gigabytes * 1e9 / LAYER)))
    rng = np.random.default_rng(1)
    np.savez(root / "recipes/data/test.npz", x=rng.standard_normal((4, WIDTH), np.float32))
    (root / "recipes/large.yaml").write_text(RECIPE)
    (root / "recipes/passes.py").write_text(PASSES)
    return sum(path.stat().st_size for path in (root / "recipes/models").iterdir())


def pss(process: psutil.Process) -> int:
    """Return the proportional set sizes of a process and all below it, in bytes."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(OSError):
                rollup = Path(f"/proc/{each.pid}/smaps_rollup").read_text()
                total += 1024 * next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total


def used(folder: Path) -> int:
    """Return the bytes on disk below a folder, each inode once."""
    inodes = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            stat = path.lstat()
            inodes[stat.st_ino] = stat.st_blocks * 512
    return sum(inodes.values())


def main() -> None:
    """Measure and print the figures next to their goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.3)
    parser.add_argument("--folder", type=Path, help="where to work; needs five times the model")
    parser.add_argument("--keep", action="store_true")
    chosen = parser.parse_args()
    root = Path(tempfile.mkdtemp(dir=chosen.folder, prefix="large-"))
    try:
        measure(root, write_project(root, chosen.gigabytes))
    finally:
        if not chosen.keep:
            shutil.rmtree(root)


def measure(root: Path, model: int) -> None:
    """Make the project in `root`, whose model has so many bytes, and print what it took."""
    events = root / "events.jsonl"
    began = time.monotonic()
    arguments = ["-m", "onnxbuild", "make", "-j1", "--events", str(events)]
    make = psutil.Popen([sys.executable, *arguments], cwd=root, stdout=subprocess.DEVNULL)
    peak, at, disk = 0, 0.0, 0
    while make.poll() is None:
        now = pss(make)
        if now > peak:
            peak, at = now, time.monotonic() - began
        disk = max(disk, used(root / ".onnxbuild"))
        time.sleep(0.1)
    took = time.monotonic() - began
    if make.returncode:
        raise SystemExit(f"make left with {make.returncode}")
    ran = [e for line in events.read_text().splitlines() if (e := json.loads(line))["event"] == "action"]
    for action in ran:
        print(f"  {action['action']:28} {action['seconds']:6.1f} s")
    store = used(root / ".onnxbuild/blobs")
    print(f"model {model / 1e9:.2f} GB, {len(ran)} actions in {took:.0f} s, onnx {onnx.__version__}")
    print(f"store grew by                {store / model:5.2f} x the model   (goal: at most 1.2)")
    print(f"peak of summed PSS           {peak / model:5.2f} x the model   (goal: at most 1.5), after {at:.0f} s")
    print(f"peak of store and scratch    {disk / model:5.2f} x the model   (no goal)")


if __name__ == "__main__":
    main()
