"""The projects that the tests of this folder edit, and what they ask of a make's events; knows no test."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tests.project import Done, Project, write_mlp

STEPS = """\
format: 1
description: a small classifier
source: {framework: onnx, path: models/mlp.onnx}
inputs: {x: {dtype: float32, shape: [batch, 8]}}
outputs: [y]
dynamic_axes: {batch: {max: 64}}
opset: 20
ir_version: 10
passes:
  - onnxscript: optimize
  - onnxoptimizer: [eliminate_identity]
  - onnxslim: default
  - onnxruntime: basic
  - custom: {function: passes/name.py:run, args: {prefix: renamed}}
pruning: {method: magnitude, sparsity: 0.1}
calibration: {data: data/train.npz, samples: 32}
evaluation:
  data: {loader: data/load.py:load, args: {part: test}}
  metric: {custom: metrics/share.py:share, higher_is_better: true}
quantization: {mode: static}
tolerance: {outputs: {y: {mean_abs: 90}}, metric: {at_least: 10% of source}}
gates: {size: {at_most: 9 MB}}
session: {graph_optimization: basic, intra_op_threads: 1}
package: {metadata: {team: kiosk}}
"""
LOADER = """\
import numpy as np
from scaling import SCALE


def load(part):
    with np.load(f"data/{part}.npz") as arrays:
        return {"x": arrays["x"] * np.float32(SCALE), "labels": arrays["labels"]}
"""
PASS = """\
from naming import joined


def run(model, prefix):
    for node in model.graph:
        node.name = joined(prefix, node.name)
    return model
"""
METRIC = """\
from counting import hits


def share(outputs, labels, inputs):
    with open("metrics/weight.txt") as file:
        return float(hits(outputs["y"], labels) * float(file.read()))
"""


def write_steps(project: Project) -> None:
    """Write a recipe for an ONNX classifier with every kind of step, a loader, a pass and a metric, with imports."""
    write_mlp(project)
    project.write("recipes/data/load.py", LOADER)
    project.write("recipes/data/scaling.py", "SCALE = 1.0\n")
    project.write("recipes/passes/name.py", PASS)
    project.write("recipes/passes/naming.py", 'def joined(one, two):\n    return f"{one}/{two}"\n')
    project.write("recipes/metrics/share.py", METRIC)
    project.write("recipes/metrics/counting.py", "def hits(y, labels):\n    return (y.argmax(1) == labels).mean()\n")
    project.write("recipes/metrics/weight.txt", "1.0")
    project.recipe("mlp", STEPS)


FACTORY = """\
import json
import os

import numpy as np
from sklearn.linear_model import LogisticRegression

from shapes import CLASSES


def build(seed):
    rng = np.random.default_rng(seed)
    with open("models/settings.json") as file:
        strength = json.load(file)["C"]
    rounds = 100 + len(os.listdir("models/parts")) + int(os.environ.get("ROUNDS", "0"))
    rows = rng.normal(size=(60, 4)).astype("float32")
    return LogisticRegression(C=strength, max_iter=rounds, tol=1e-9).fit(rows, rng.integers(0, CLASSES, 60))
"""
FOREST = """\
format: 1
source: {framework: sklearn, factory: models/line.py:build, args: {seed: 0}, env: [ROUNDS]}
inputs: {x: {dtype: float32, shape: [batch, 4]}}
outputs: {label: predict, y: predict_proba}
dynamic_axes: {batch: {max: 8}}
"""


def write_sklearn(project: Project) -> None:
    """Write a recipe for a scikit-learn factory that imports, opens, lists and asks for a variable."""
    project.write("recipes/models/line.py", FACTORY)
    project.write("recipes/models/shapes.py", "CLASSES = 2\n")
    project.write("recipes/models/settings.json", '{"C": 1.0}')
    project.write("recipes/models/parts/one.txt", "")
    project.recipe("line", FOREST)


NET = """\
import torch

from blocks import Block


def build(width):
    torch.manual_seed(0)
    return torch.nn.Sequential(Block(8, width), torch.nn.Linear(width, 4))
"""
BLOCKS = """\
import torch


class Block(torch.nn.Linear):
    def forward(self, x):
        return torch.relu(super().forward(x))
"""
TORCH = """\
format: 1
source: {framework: torch, factory: net.py:build, args: {width: 4}, weights: net.safetensors}
inputs: {x: {dtype: float32, shape: [batch, 8]}}
outputs: [y]
dynamic_axes: {batch: {max: 8}}
opset: 20
"""


def write_torch(project: Project) -> None:
    """Write a recipe for a torch factory with a module of its own and weights."""
    project.write("recipes/net.py", NET)
    project.write("recipes/blocks.py", BLOCKS)
    write_weights(project, 0)
    project.recipe("net", TORCH)


def write_weights(project: Project, seed: int) -> None:
    """Write net.safetensors for width 4."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(seed)
    shapes = {"0.weight": (4, 8), "0.bias": (4,), "1.weight": (4, 4), "1.bias": (4,)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(arrays, project.root / "recipes/net.safetensors")


def edit(project: Project, name: str, old: str, new: str) -> None:
    """Replace the one place where `old` stands in a file."""
    file = project.root / name
    text = file.read_text()
    assert text.count(old) == 1, (name, old)
    file.write_text(text.replace(old, new))


def rewrite_arrays(file: Path, **changed: np.ndarray) -> None:
    """Write an .npz again, other bytes even for equal arrays: compressed."""
    with np.load(file) as arrays:
        content = dict(arrays) | changed
    before = file.read_bytes()
    np.savez_compressed(file, **content)
    assert file.read_bytes() != before


def ran(done: Done, code: int = 0) -> set[str]:
    """The actions that ran, without the recipe's name; the make must have ended with `code`."""
    assert done.code == code, done.out + done.err
    return {name.rpartition("/")[2] for name in done.ran}


def waiting(done: Done) -> set[str]:
    """The actions of a dry run that wait for others, without the recipe's name."""
    return {name.rpartition("/")[2] for name in done.actions("waits")}


def reasons(done: Done, action: str) -> list[str]:
    """Why an action ran."""
    found: list[str] = done.event("action", action=action)["reasons"]
    return found


def assert_nothing_to_do(done: Done) -> None:
    """The make ran and restored nothing, and said only that."""
    assert done.code == 0, done.out + done.err
    assert [e["event"] for e in done.events] == ["plan", "end"]
    end = done.event("end")
    assert (end["ran"], end["restored"]) == (0, 0)


def assert_restored(done: Done) -> None:
    """The make ran nothing, but restored."""
    assert done.code == 0, done.out + done.err
    assert done.ran == []
    assert done.event("end")["restored"] > 0


def pretend(folder: Path, versions: dict[str, str]) -> dict[str, str]:
    """Return an environment in which the distributions named have other versions than the installed ones."""
    for name, version in versions.items():
        record = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        record.mkdir(parents=True)
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (record / "RECORD").write_text("")
    return on_path(folder)


def on_path(folder: Path) -> dict[str, str]:
    """Return an environment in which modules and distributions in `folder` come before the installed ones."""
    return {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(folder)])}


def models(project: Project) -> Iterable[Path]:
    """All blobs of the project's store that are ONNX models by their first bytes: the IR version's field."""
    blobs = (project.root / ".onnxbuild/blobs").rglob("*")
    return [blob for blob in blobs if blob.is_file() and blob.read_bytes()[:1] == b"\x08"]
