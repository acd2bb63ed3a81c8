"""The same source, exported in two fresh processes with other hash seeds and folders, is the same bytes.

Which the exporters' own files are not: each test shows first what differs in them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from onnxbuild.ir.canonical import canonicalize
from onnxbuild.ir.check import check_model_file
from onnxbuild.ir.facts import Origin
from onnxbuild.ir.model import MODEL, read_model, write_model
from onnxbuild.recipe.types import Framework

SCRIPTS = Path(__file__).parent / "exports"


def exported(script: str, folder: Path, seed: int, comment: str = "") -> subprocess.Popen[str]:
    """Start a copy of the script, below a comment, in a folder and hash seed of its own."""
    folder.mkdir()
    copy = folder / script
    copy.write_text(comment + (SCRIPTS / script).read_text())
    return subprocess.Popen(
        [sys.executable, str(copy), str(folder / MODEL)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        cwd=folder,
    )


def run(path: Path, x: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def raw(tmp_path: Path) -> tuple[bytes, bytes]:
    """Return the two files as the exporter wrote them."""
    one, two = ((tmp_path / name / MODEL).read_bytes() for name in ("one", "two"))
    return one, two


def compare(
    script: str, framework: Framework, shape: tuple[int, ...], tmp_path: Path
) -> tuple[ir.Model, dict[str, Origin]]:
    """Export twice, canonicalise, and hold the bytes, idempotence and the outputs against the exporter's own."""
    folders = [tmp_path / "one", tmp_path / "two"]
    started = [exported(script, folders[0], 1), exported(script, folders[1], 2, "# a comment\n\n")]
    for process in started:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    origins: list[dict[str, Origin]] = []
    for number, folder in enumerate(folders):
        model = read_model(folder)
        origins.append(canonicalize(model, source=framework, root=folder))
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
    for a, b in zip(run(folders[0] / MODEL, x), run(tmp_path / "out0" / MODEL, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    return read_model(tmp_path / "out0"), origins[0]


@pytest.mark.slow
@pytest.mark.torch
def test_torch(tmp_path):
    pytest.importorskip("torch")
    model, origins = compare("torch_net.py", Framework.TORCH, (3, 1, 8, 8), tmp_path)
    one, two = raw(tmp_path)
    assert f"{tmp_path}/one/torch_net.py".encode() in one, "the exporter writes where the source lay"
    assert b"return self.norm(x + self.attn(" in one, "and the source itself"
    assert one.replace(b"/one/", b"/two/") != two, "so that a comment above it changes the file, as a folder does"
    ours = (tmp_path / "out0" / MODEL).read_bytes()
    assert b"torch_net.py" not in ours
    assert b"self.norm(" not in ours
    names = {node.name for node in model.graph}
    assert {"conv/Conv", "Relu", "MaxPool", "block/norm/LayerNormalization", "fc/Gemm"} <= names
    assert {"conv.weight", "block.norm.weight", "fc.weight", "block.attn.out_proj.weight"} <= set(
        model.graph.initializers
    )
    lines = (SCRIPTS / "torch_net.py").read_text().splitlines()
    where = origins["block/norm/LayerNormalization"]
    assert (where.module, where.file) == ("block.norm", "torch_net.py")
    assert "self.norm(" in lines[(where.line or 0) - 1]


@pytest.mark.slow
@pytest.mark.tensorflow
def test_keras(tmp_path):
    pytest.importorskip("tensorflow")
    model, _ = compare("keras_net.py", Framework.KERAS, (3, 8, 8, 1), tmp_path)
    one, two = (onnx.load_from_string(file) for file in raw(tmp_path))
    assert [node.op_type for node in one.graph.node] == [node.op_type for node in two.graph.node]
    numbered = [[node.name for node in proto.graph.node] for proto in (one, two)]
    assert numbered[0] != numbered[1], "the exporter numbers names otherwise in each process"
    names = {node.name for node in model.graph}
    assert {"conv/Conv", "conv/Relu", "fc_1/MatMul", "fc_2/MatMul", "fc_2/Softmax"} <= names
    assert not any("__" in name or "Partitioned" in name for name in (*names, *model.graph.initializers))


@pytest.mark.slow
@pytest.mark.sklearn
def test_sklearn(tmp_path):
    pytest.importorskip("skl2onnx")
    model, _ = compare("sklearn_net.py", Framework.SKLEARN, (3, 13), tmp_path)
    one, two = raw(tmp_path)
    assert one == two, "this exporter needs no mending"
    assert {node.name for node in model.graph} >= {"TreeEnsembleClassifier", "Scaler", "Concat"}
