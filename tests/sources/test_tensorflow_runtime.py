"""A process that has imported what workers preload may fork, and its child can convert a model."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from onnxbuild.sources import keras_source, tensorflow_source, tflite_source

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs the tensorflow extra"),
]

SCRIPT = """
import importlib, os, sys
from pathlib import Path
for module in sys.argv[2:]:
    importlib.import_module(module)
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
from onnxbuild.recipe.types import Axis, Framework, Function, Input, Output, Source
from onnxbuild.sources.keras_source import KIND
from onnxbuild.sources.source import SourceRequest
folder = Path(sys.argv[1])
(folder / "net.py").write_text(
    "import keras\\ndef build():\\n    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])\\n")
request = SourceRequest(
    source=Source(framework=Framework.KERAS, factory=Function(file="net.py", name="build")),
    inputs=(Input(name="x", dtype="float32", shape=("batch", 3)),), outputs=(Output(name="y"),),
    axes={"batch": Axis(max=4)}, files={"factory": folder / "net.py"}, warn=print)
assert KIND.export(request, 18, folder).path.stat().st_size > 0
"""


def test_preloaded_modules_leave_a_process_that_can_fork(tmp_path: object) -> None:
    preload = dict.fromkeys((*tensorflow_source.KIND.preload, *keras_source.KIND.preload, *tflite_source.KIND.preload))
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), *preload],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout == ""


def test_importing_the_sources_imports_no_framework() -> None:
    code = (
        "import sys; from onnxbuild.sources import keras_source, tensorflow_source, tflite_source;"
        "print([m for m in ('tensorflow', 'keras', 'tf2onnx', 'ai_edge_litert', 'onnx') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
