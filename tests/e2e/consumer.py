"""Runs every delivered model below a folder at both ends of its dynamic axes, from its manifest alone.

A script for an environment that holds nothing but numpy and ONNX Runtime; knows nothing of onnxbuild.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

LEVELS = {
    "disable": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def options(session: Mapping[str, Any]) -> ort.SessionOptions:
    made = ort.SessionOptions()
    made.graph_optimization_level = LEVELS[session.get("graph_optimization", "all")]
    made.intra_op_num_threads = session.get("intra_op_threads", 1)
    made.enable_mem_pattern = session.get("memory_pattern", True)
    made.enable_cpu_mem_arena = session.get("cpu_arena", True)
    return made


def arrays(manifest: Mapping[str, Any], sizes: Mapping[str, int]) -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    for value in manifest["inputs"]:
        shape = [sizes[dim] if isinstance(dim, str) else dim for dim in value["shape"]]
        if value["dtype"] == "string":
            yield value["name"], rng.choice(["red", "white", ""], size=shape).astype(object)
        elif value["dtype"].startswith("int"):
            yield value["name"], rng.integers(0, 100, size=shape).astype(value["dtype"])
        else:
            yield value["name"], rng.random(shape).astype(value["dtype"])


def call(file: Path, manifest: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """Return what came out at the least and at the greatest size: shape, dtype, and whether all of it is finite."""
    model = file.parent / manifest["model"]
    session = ort.InferenceSession(model, options(manifest["session"]), providers=["CPUExecutionProvider"])
    names = [value["name"] for value in manifest["outputs"]]
    runs = []
    for end in ("min", "max"):
        sizes = {axis: bounds[end] for axis, bounds in manifest["dynamic_axes"].items()}
        outputs = session.run(names, dict(arrays(manifest, sizes)))
        runs.append(
            [{"shape": list(o.shape), "dtype": str(o.dtype), "finite": bool(np.isfinite(o).all())} for o in outputs]
        )
    return runs


if __name__ == "__main__":
    manifests = {file: json.loads(file.read_text()) for file in sorted(Path(sys.argv[1]).glob("*/*/manifest.json"))}
    print(json.dumps({manifest["name"]: call(file, manifest) for file, manifest in manifests.items()}))
