"""What `onnxbuild.runtime` adds to ONNX Runtime's own `session.run`, in one process and in turns.

Run it with `python -m benchmarks.runtime_overhead build/digits-cnn/int8 ...` on delivered packages; it exits with 1
where the wrapper adds more than 5 % or 10 microseconds, whichever is larger.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from onnxbuild.runtime import Model, Value, load

RUNS = 3000
SHARE, MICROSECONDS = 0.05, 10.0


def call_of(model: Model, rows: int) -> dict[str, np.ndarray]:
    """Return arrays of the declared dtypes, with `rows` as the size of every dynamic axis that takes it."""
    rng = np.random.default_rng(0)
    return {value.name: array_of(value, model, rows, rng) for value in model.inputs}


def array_of(value: Value, model: Model, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return one input's array."""
    shape = [d if isinstance(d, int) else max(rows, model.package.axes[str(d)].min) for d in value.shape]
    if value.dtype == "string":
        return rng.choice(["red", "white"], size=shape).astype(object)
    return np.asarray(rng.integers(0, 2, size=shape)).astype(value.dtype)


def measure(model: Model, call: dict[str, np.ndarray], runs: int = RUNS) -> tuple[float, float]:
    """Return the median microseconds of `session.run` and of `Model.run`, taken in turns."""
    names = [value.name for value in model.outputs]
    taken: tuple[list[int], list[int]] = [], []
    for number in range(runs + runs // 10):
        began = time.perf_counter_ns()
        model.session.run(names, call)
        between = time.perf_counter_ns()
        model.run(call)
        ended = time.perf_counter_ns()
        if number >= runs // 10:
            taken[0].append(between - began)
            taken[1].append(ended - between)
    return statistics.median(taken[0]) / 1e3, statistics.median(taken[1]) / 1e3


def main() -> None:
    """Measure each package at one and at 16 rows, and print figures next to the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="+", type=Path, help="delivered folders")
    slow = False
    for folder in parser.parse_args().packages:
        model = load(folder)
        for rows in (1, 16):
            plain, ours = measure(model, call_of(model, rows))
            allowed = max(SHARE * plain, MICROSECONDS)
            slow = slow or ours - plain > allowed
            print(
                f"{folder}, batch {rows}: session.run {plain:.1f} us, Model.run {ours:.1f} us, "
                f"{ours - plain:+.1f} us (goal: at most {allowed:.1f})"
            )
    sys.exit(slow)


if __name__ == "__main__":
    main()
