"""A model in ONNX Runtime's own file format, for builds of the runtime without an ONNX parser; compares nothing."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from onnxbuild.base.foreign import foreign_tool
from onnxbuild.ort.session import session_options
from onnxbuild.recipe.types import Session

FILE = "model.ort"


def write_ort(model: Path, folder: Path, scratch: Path, session: Session) -> Path:
    """Write the model file as `model.ort` into `folder` and return its path; it holds the weights too.

    What the runtime optimises at the session's level is fixed in the file: basic is portable, all is for this machine.
    """
    out = folder / FILE
    options = session_options(session)
    options.optimized_model_filepath = str(out)
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.add_session_config_entry("session.disable_prepacking", "1")  # nothing runs here, and it costs memory
    with foreign_tool("onnxruntime", scratch):
        ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return out
