"""Which files an ONNX file's weights lie in; reads the graph, not the weights."""

from __future__ import annotations

from pathlib import Path

import onnx

from onnxbuild.ir.preflight import external_files


def external_data_of(file: str) -> list[str]:
    """Return the paths of the external data that an ONNX file names; none when it cannot be read."""
    try:
        model = onnx.load(file, load_external_data=False)
    except Exception:  # of many types; whoever wanted to read the model says what is wrong with it
        return []
    return [str(path) for path in external_files(model, Path(file).parent)]
