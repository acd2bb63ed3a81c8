"""A small project in a temporary folder, driven through the real command; knows nothing of the engine's inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith(("COV_", "PYTEST_"))}


@dataclass
class Done:
    """What a command left: exit code, output, and its events where it wrote any."""

    code: int
    out: str
    err: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def actions(self, decision: str | None = None) -> list[str]:
        """The names of the actions told of, in order, of one decision or of all."""
        return [e["action"] for e in self.events if e["event"] == "action" and decision in (None, e["decision"])]

    @property
    def ran(self) -> list[str]:
        """The stages that ran, sorted, with the target's part of the name."""
        return sorted(e["action"] for e in self.events if e["event"] == "action" and e["decision"] == "run")

    def event(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """The one event of a kind whose fields have the wanted values."""
        found = [e for e in self.events if e["event"] == kind and all(e[k] == v for k, v in wanted.items())]
        assert len(found) == 1, (kind, wanted, found, self.err)
        return found[0]


class Project:
    """Writes a project's files and runs `onnxbuild` in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "recipes").mkdir(parents=True, exist_ok=True)

    def write(self, name: str, text: str) -> Path:
        """Write a text file below the root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def recipe(self, name: str, text: str) -> Path:
        """Write recipes/<name>.yaml."""
        return self.write(f"recipes/{name}.yaml", text)

    def run(self, *arguments: str, env: dict[str, str] | None = None, timeout: float = 300) -> Done:
        """Run the command and return what it left; `make` also leaves its events."""
        events = self.root / "events.jsonl"
        events.unlink(missing_ok=True)
        extra = ["--events", str(events)] if arguments[0] == "make" and "--events" not in arguments else []
        process = subprocess.run(
            [sys.executable, "-m", "onnxbuild", *arguments, *extra],
            cwd=self.root,
            env={**ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[1]), **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        lines = events.read_text().splitlines() if events.exists() else []
        return Done(process.returncode, process.stdout, process.stderr, [json.loads(line) for line in lines])

    def make(self, *arguments: str, **options: Any) -> Done:
        """Run `onnxbuild make`."""
        return self.run("make", *arguments, **options)


MLP = """\
format: 1
source: {framework: onnx, path: models/mlp.onnx}
inputs: {x: {dtype: float32, shape: [batch, 8]}}
outputs: [y]
dynamic_axes: {batch: {max: 64}}
opset: 20
evaluation: {data: data/test.npz, metric: accuracy}
"""

ONE_ROW = MLP.replace("[batch, 8]", "[1, 8]").replace("dynamic_axes: {batch: {max: 64}}\n", "")
"""The same with fixed sizes, for what takes no others."""


def write_mlp(project: Project, seed: int = 0) -> None:
    """Write a two-layer ONNX classifier and labelled data that its float32 form classifies perfectly."""
    rng = np.random.default_rng(seed)
    w1, b1 = rng.normal(size=(8, 16)).astype(np.float32), rng.normal(size=16).astype(np.float32)
    w2, b2 = rng.normal(size=(16, 4)).astype(np.float32), np.zeros(4, np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h1"], "fc1/MatMul"),
        helper.make_node("Add", ["h1", "b1"], ["h2"], "fc1/Add"),
        helper.make_node("Relu", ["h2"], ["h3"], "relu"),
        helper.make_node("Identity", ["h3"], ["h4"], "nothing"),
        helper.make_node("MatMul", ["h4", "w2"], ["h5"], "fc2/MatMul"),
        helper.make_node("Add", ["h5", "b2"], ["y"], "fc2/Add"),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(a, n) for a, n in ((w1, "w1"), (b1, "b1"), (w2, "w2"), (b2, "b2"))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (project.root / "recipes/models").mkdir(parents=True, exist_ok=True)
    (project.root / "recipes/data").mkdir(parents=True, exist_ok=True)
    onnx.save(model, project.root / "recipes/models/mlp.onnx")
    x = rng.normal(size=(96, 8)).astype(np.float32)
    labels = (np.maximum(x @ w1 + b1, 0) @ w2 + b2).argmax(axis=1)
    np.savez(project.root / "recipes/data/test.npz", x=x, labels=labels)
    np.savez(project.root / "recipes/data/train.npz", x=rng.normal(size=(64, 8)).astype(np.float32))


def accept_mlp(project: Project, recipe: str) -> None:
    """Write the MLP with a recipe, build it and accept what came of it."""
    write_mlp(project)
    project.recipe("mlp", recipe)
    assert project.make().code == 0
    assert project.run("accept", "mlp").code == 0
