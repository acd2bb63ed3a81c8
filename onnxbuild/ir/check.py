"""Whether a model file is valid ONNX, asked of onnx's own checker; knows nothing of what the model computes."""

from __future__ import annotations

import re
from pathlib import Path

import onnx

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.model import MODEL

_NODE = re.compile(r"Name: (.*?) OpType: (\S+)|node (?:with )?name:? ?'?([^'\s,)]+)", re.IGNORECASE)


def check_model_file(path: Path, *, infer_shapes: bool = False, tool: str | None = None) -> None:
    """Check the model in a file or an artifact's folder, by path, so that weights are not read into memory.

    `infer_shapes` also infers all shapes, strictly: only for models that we made, as a hostile one makes
    inference allocate without end. `tool` names what wrote the model. Raises StageFailure (`invalid-model`) with
    the node where the checker names one.
    """
    file = path / MODEL if path.is_dir() else path
    try:
        onnx.checker.check_model(str(file), full_check=infer_shapes)
    except Exception as error:  # ValidationError, InferenceError and a few of pybind's
        text = str(error).strip()
        match = _NODE.search(text)
        node = (match[1] or match[3]) if match else None
        reason = text.split("\n", 1)[0] or type(error).__name__
        said = f" at node '{node}'" + (f" ({match[2]})" if match and match[2] else "") if node else ""
        by = f"{tool} wrote a model that " if tool else "the model "
        raise StageFailure("invalid-model", f"{by}is not valid ONNX{said}: {reason}", tool=tool, node=node) from None
