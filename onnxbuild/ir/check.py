"""Whether a model file is valid ONNX, asked of onnx's own checker; knows nothing of what the model computes."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.model import MODEL, WEIGHTS

_NODE = re.compile(r"Name: (.*?) OpType: (\S+)|node (?:with )?name:? ?'?([^'\s,)]+)", re.IGNORECASE)


def check_model_file(path: Path, *, infer_shapes: bool = False, tool: str | None = None) -> None:
    """Check the model in a file or an artifact's folder, by path, so that weights are not read into memory.

    `infer_shapes` also infers all shapes, strictly: only for models that we made, as a hostile one makes
    inference allocate without end. `tool` names what wrote the model. Raises StageFailure (`invalid-model`) with
    the node where the checker names one.
    """
    file = path / MODEL if path.is_dir() else path
    try:
        with _unlinked(file) as plain:
            onnx.checker.check_model(str(plain), full_check=infer_shapes)
    except Exception as error:  # ValidationError, InferenceError and a few of pybind's
        text = str(error).strip()
        match = _NODE.search(text)
        node = (match[1] or match[3]) if match else None
        reason = text.split("\n", 1)[0] or type(error).__name__
        said = f" at node '{node}'" + (f" ({match[2]})" if match and match[2] else "") if node else ""
        by = f"{tool} wrote a model that " if tool else "the model "
        raise StageFailure("invalid-model", f"{by}is not valid ONNX{said}: {reason}", tool=tool, node=node) from None


@contextmanager
def _unlinked(file: Path) -> Iterator[Path]:
    """Yield the model beside a weights file that has one name only: the checker refuses others, and reads no weights.

    Our artifacts share theirs by hard links; an empty file of the same size stands for it.
    """
    weights = file.with_name(WEIGHTS)
    if not weights.exists() or weights.stat().st_nlink == 1:
        yield file
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copyfile(file, folder / MODEL)
        (folder / WEIGHTS).touch()
        os.truncate(folder / WEIGHTS, weights.stat().st_size)
        yield folder / MODEL
