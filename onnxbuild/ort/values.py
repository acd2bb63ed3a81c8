"""Every tensor that a model computes in one call, for looking inside; knows not what is looked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from onnxbuild.ort.session import UNOPTIMIZED, beyond_numpy, open_session, run_call

INSIDE = "model.onnx.inside"


def all_values(file: Path, call: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what every node of the main graph in `file` writes in one call, and the call's arrays, by name.

    Sequences, absent optionals and what numpy does not have are left out. A copy of the graph is written beside `file`
    while it runs.
    """
    proto = onnx.load(file, load_external_data=False)
    known = {value.name for value in proto.graph.output}
    written = [name for node in proto.graph.node for name in node.output if name and name not in known]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in written)
    copy = file.with_name(INSIDE)
    copy.write_bytes(proto.SerializeToString())
    try:
        session = open_session(copy, UNOPTIMIZED)
        found = run_call(session, call, beyond_numpy(session))
    finally:
        copy.unlink()
    return {name: array for name, array in {**found, **call}.items() if isinstance(array, np.ndarray)}
