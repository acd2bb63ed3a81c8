"""Every hostile file is refused with a reason, in bounded time and memory, before or inside a child process."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.preflight import preflight
from tests.hostile.corpus import CASES

ONLY_IN_A_CHILD = {
    "cycle",
    "value_that_is_made_twice",
    "output_that_nothing_makes",
    "unknown_operator",
    "ranks_that_do_not_fit",
    "attribute_of_the_wrong_size",
    "shape_that_only_running_reveals",
}
MEMORY = 2 * 10**9
SECONDS = 60
CHILD = """
import sys
from pathlib import Path
from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.canonical import canonicalize
from onnxbuild.ir.check import check_model_file
from onnxbuild.ir.model import read_model_file
from onnxbuild.ir.preflight import preflight
from onnxbuild.ort.session import open_session, run_call
import numpy as np
path = Path(sys.argv[1])
try:
    preflight(path)
    canonicalize(read_model_file(path))
    check_model_file(path)
    session = open_session(path)
    run_call(session, {"x": np.ones(2, np.float32)})
except StageFailure as failure:
    print(failure.message)
    raise SystemExit(7)
except MemoryError:
    print("out of memory")
    raise SystemExit(7)
"""


def write(name: str, folder: Path) -> Path:
    folder.mkdir()
    path = folder / "model.onnx"
    path.write_bytes(CASES[name][0](folder))
    return path


def test_the_corpus_is_large_enough():
    assert len(CASES) >= 40
    assert set(CASES) >= ONLY_IN_A_CHILD


@pytest.mark.parametrize("name", sorted(set(CASES) - ONLY_IN_A_CHILD))
def test_refused_before_any_tool_touches_it(name, tmp_path):
    path = write(name, tmp_path / "model")
    start = time.monotonic()
    with pytest.raises(StageFailure) as caught:
        preflight(path)
    assert CASES[name][1] in caught.value.message
    assert time.monotonic() - start < SECONDS
    assert caught.value.code in {"hostile-model", "bad-onnx-file", "unsupported-model"}


@pytest.mark.parametrize("name", sorted(ONLY_IN_A_CHILD))
def test_refused_in_a_bounded_child(name, tmp_path):
    path = write(name, tmp_path / "model")
    preflight(path)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY)),
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert CASES[name][1] in done.stdout.lower() + done.stdout
