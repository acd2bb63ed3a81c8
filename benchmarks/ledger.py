"""What the ledger costs a cold build of the examples: edges, intervals and the validations after steps before the last.

    python benchmarks/ledger.py [--recipes digits-cnn digits-transformer]

All stages run one after another in this process, as in cold_build.py, with a clock around each part of the ledger:
making calls at the edges of dynamic axes, running source and models there, bootstrap intervals, and the validation of
models that are not delivered. Processor time, so that a busy machine does not matter. A warm build runs no stage, and
so none of this. What guards cost is measured by themselves; together they may add a quarter.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
GOAL = 0.25
sys.path.insert(0, str(ROOT))

spent: Counter[str] = Counter()


def clocked(part: str, function: Callable[..., Any], when: Callable[..., bool] = lambda *_: True) -> Callable[..., Any]:
    """Return `function` with its processor time counted for `part` on the calls that `when` is true of."""

    def run(*arguments: Any) -> Any:
        began = time.process_time()
        result = function(*arguments)
        if not isinstance(result, list | tuple) and hasattr(result, "__next__"):
            result = iter(list(result))
        if when(*arguments):
            spent[part] += time.process_time() - began
        return result

    return run


def attach() -> None:
    """Put the clocks where stages look for the ledger's parts."""
    from onnxbuild.data import edges
    from onnxbuild.proof import bootstrap, edge_walk
    from onnxbuild.stages.source_at_edges import SourceAtEdges
    from onnxbuild.stages.table import STAGES

    validate = STAGES["validate"]
    between = clocked("validations before the last", validate.run, lambda _, work: "edges" not in work.inputs)
    STAGES["validate"] = dataclasses.replace(validate, run=between)
    for module, name, part in (
        (edges, "make_edges", "making calls at edges"),
        (edge_walk, "measure_sizes", "models at edges"),
        (SourceAtEdges, "at_edges", "sources at edges"),
        (bootstrap, "metric_intervals", "intervals"),
    ):
        setattr(module, name, clocked(part, getattr(module, name)))


def main() -> None:
    """Measure and print the figures next to their goal."""
    from benchmarks.cold_build import run_script

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", nargs="+", default=["digits-cnn", "digits-transformer"])
    chosen = parser.parse_args()
    attach()
    with tempfile.TemporaryDirectory(prefix="ledger-") as folder:
        root = Path(folder)
        shutil.copytree(ROOT / "recipes", root / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
        began = time.process_time()
        run_script(root, chosen.recipes)
        whole = time.process_time() - began
    ledger = spent.total()
    for part, seconds in spent.most_common():
        print(f"{part:28} {seconds * 1000:7.0f} ms")
    print(f"the ledger adds {ledger / (whole - ledger):.1%} of the processor time of {whole:.1f} s", end="")
    print(f"  (goal, with the guards: at most {GOAL:.0%})")


if __name__ == "__main__":
    main()
