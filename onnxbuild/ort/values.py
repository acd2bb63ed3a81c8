"""Every tensor that a model computes in one call, for looking inside; knows not what is looked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from onnxbuild.ort.exposed import all_outputs
from onnxbuild.ort.session import UNOPTIMIZED, beyond_numpy, open_session, run_call


def all_values(file: Path, call: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what every node of the main graph in `file` writes in one call, and the call's arrays, by name.

    Sequences, absent optionals and what numpy does not have are left out. A copy of the graph is written beside `file`
    while it runs.
    """
    with all_outputs(file) as copy:
        session = open_session(copy, UNOPTIMIZED)
        found = run_call(session, call, beyond_numpy(session))
    return {name: array for name, array in {**found, **call}.items() if isinstance(array, np.ndarray)}
