"""The same source, exported in two fresh processes with other hash seeds and folders, is the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from onnxbuild.ir.canonical import canonicalize
from onnxbuild.ir.check import check_model_file
from onnxbuild.ir.facts import Origin
from onnxbuild.ir.model import MODEL, read_model, read_model_file, write_model
from onnxbuild.recipe.types import Framework

SCRIPTS = Path(__file__).parent / "exports"


def exported(script: str, folder: Path, seed: int, comment: str = "") -> Path:
    """Run a copy of the script, below a comment, in a folder and hash seed of its own."""
    folder.mkdir()
    copy = folder / script
    copy.write_text(comment + (SCRIPTS / script).read_text())
    target = folder / "model.onnx"
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    done = subprocess.run(
        [sys.executable, str(copy), str(target)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


def compare(
    script: str, framework: Framework, shape: tuple[int, ...], tmp_path: Path
) -> tuple[ir.Model, dict[str, Origin]]:
    """Export twice, canonicalise, and hold the bytes, idempotence and the outputs against the exporter's own."""
    files = [exported(script, tmp_path / "one", 1), exported(script, tmp_path / "two", 2, "# a comment\n\n")]
    origins: list[dict[str, Origin]] = []
    for number, file in enumerate(files):
        model = read_model_file(file)
        origins.append(canonicalize(model, source=framework, root=file.parent))
        write_model(model, tmp_path / f"out{number}")
    first, second = ((tmp_path / f"out{n}" / MODEL).read_bytes() for n in range(2))
    assert first == second
    assert str(tmp_path).encode() not in first
    check_model_file(tmp_path / "out0", infer_shapes=True)
    again = read_model(tmp_path / "out0")
    canonicalize(again, source=framework)
    write_model(again, tmp_path / "again")
    assert (tmp_path / "again" / MODEL).read_bytes() == first
    x = np.random.default_rng(0).random(shape, dtype=np.float32)
    old, new = (
        ort.InferenceSession(p, providers=["CPUExecutionProvider"]) for p in (files[0], tmp_path / "out0" / MODEL)
    )
    for a, b in zip(
        old.run(None, {old.get_inputs()[0].name: x}), new.run(None, {new.get_inputs()[0].name: x}), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    shutil.rmtree(tmp_path / "one")
    return read_model(tmp_path / "out0"), origins[0]


@pytest.mark.torch
def test_torch(tmp_path):
    pytest.importorskip("torch")
    model, origins = compare("torch_net.py", Framework.TORCH, (3, 1, 8, 8), tmp_path)
    names = {node.name for node in model.graph}
    assert {"conv/Conv", "Relu", "MaxPool", "block/norm/LayerNormalization", "fc/Gemm"} <= names
    assert {"conv.weight", "block.norm.weight", "fc.weight", "block.attn.out_proj.bias"} <= set(
        model.graph.initializers
    )
    lines = (SCRIPTS / "torch_net.py").read_text().splitlines()
    where = origins["block/norm/LayerNormalization"]
    assert (where.module, where.file) == ("block.norm", "torch_net.py")
    assert "self.norm(" in lines[(where.line or 0) - 1]


@pytest.mark.tensorflow
def test_keras(tmp_path):
    pytest.importorskip("tensorflow")
    model, _ = compare("keras_net.py", Framework.KERAS, (3, 8, 8, 1), tmp_path)
    names = {node.name for node in model.graph}
    assert {"conv/Conv", "conv/Relu", "fc_1/MatMul", "fc_2/MatMul", "fc_2/Softmax"} <= names
    assert not any("__" in name or "Partitioned" in name for name in (*names, *model.graph.initializers))


@pytest.mark.sklearn
def test_sklearn(tmp_path):
    pytest.importorskip("skl2onnx")
    model, _ = compare("sklearn_net.py", Framework.SKLEARN, (3, 13), tmp_path)
    assert {node.name for node in model.graph} >= {"TreeEnsembleClassifier", "Scaler", "Concat"}
