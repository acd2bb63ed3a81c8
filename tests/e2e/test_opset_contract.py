"""Opset and IR version, read back from delivered files: both ends for each framework, and refusals before work."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tests.project import MLP, Project, write_mlp

TORCH = """
from torch import nn

def build():
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3))
"""
KERAS = """
import keras

def build():
    x = keras.Input((4,))
    return keras.Model(x, keras.layers.Dense(3, activation="softmax")(keras.layers.Dense(8, activation="relu")(x)))
"""
SKLEARN = """
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

def build():
    x = np.random.default_rng(0).standard_normal((60, 4))
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(x, (x[:, 0] > 0).astype(int))
"""
RECIPE = """\
format: 1
source: {framework: %s, factory: models/net.py:%s}
inputs: {x: {dtype: float32, shape: [batch, 4]}}
outputs: [%s]
dynamic_axes: {batch: {max: 8}}
tolerance: {outputs: {%s: {atol: 1.0e-4}}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def delivered(project: Project, target: str) -> tuple[int, int]:
    """Return opset and IR version of what was delivered."""
    model = onnx.load(project.root / "build" / target.replace(":", "/") / "model.onnx")
    return {o.domain: o.version for o in model.opset_import}[""], model.ir_version


@pytest.mark.parametrize(
    ("framework", "package", "code", "factory", "outputs", "ends"),
    [
        ("torch", "torch", TORCH, "build", "y", ((9, 4), (26, 13))),
        ("keras", "tf2onnx", KERAS, "build", "y", ((7, 4), (26, 13))),
        ("sklearn", "skl2onnx", SKLEARN, "build", "label, probabilities", ((9, 4), (26, 13))),
    ],
)
def test_both_ends_are_delivered_exactly(
    project: Project, framework: str, package: str, code: str, factory: str, outputs: str,
    ends: tuple[tuple[int, int], tuple[int, int]],
) -> None:  # fmt: skip
    pytest.importorskip(package)
    project.write("recipes/models/net.py", code)
    text = RECIPE % (framework, factory, outputs, outputs.split(", ")[-1])
    text += "variants:\n" + "".join(f"  v{o}: {{opset: {o}, ir_version: {i}}}\n" for o, i in ends)
    project.recipe("net", text)
    done = project.make("-k")
    assert [e["verdict"] for e in done.events if e["event"] == "verdict"] == ["unverified", "unverified"], done.err
    assert [delivered(project, f"net:v{opset}") for opset, _ in ends] == list(ends)


@pytest.mark.parametrize(("opset", "ir_version"), [(13, 4), (26, 13)])
def test_an_onnx_file_is_delivered_at_both_ends(project: Project, opset: int, ir_version: int) -> None:
    write_mlp(project)
    project.recipe("mlp", MLP.replace("opset: 20", f"opset: {opset}\nir_version: {ir_version}"))
    assert project.make().code == 0
    assert delivered(project, "mlp:default") == (opset, ir_version)


def test_what_no_converter_delivers_fails_its_stage_and_names_the_nearest(project: Project) -> None:
    write_mlp(project)
    project.recipe("mlp", MLP.replace("opset: 20", "opset: 9"))
    done = project.make()
    assert done.code == 1
    failure = done.event("action", action="mlp/canonicalize")["failure"]
    assert failure["code"] == "opset-not-delivered"
    assert "No Adapter From Version $13 for MatMul" in failure["message"]
    assert failure["hint"].startswith("set `opset: 13`")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("opset: 27", "on cpu ONNX Runtime loads 7 to 26"),
        ("opset: 6", "on cpu ONNX Runtime loads 7 to 26"),
        ("opset: 20\nir_version: 14", "4 to 13 are possible"),
        ("opset: 20\nir_version: 3", "4 to 13 are possible"),
        ("opset: 10\nquantization: {mode: dynamic}", "dynamic quantisation needs opset 11 or newer"),
    ],
)
def test_known_limits_are_refused_before_any_work(project: Project, line: str, said: str) -> None:
    write_mlp(project)
    project.recipe("mlp", MLP.replace("opset: 20", line))
    done = project.make()
    assert done.code == 2
    assert said in done.err
    assert not done.ran


def test_a_bfloat16_input_needs_opset_13(project: Project) -> None:
    write_mlp(project)
    project.recipe("mlp", MLP.replace("float32", "bfloat16").replace("opset: 20", "opset: 12"))
    done = project.make()
    assert done.code == 2
    assert "input 'x' is bfloat16, which needs 13 or newer" in done.err
