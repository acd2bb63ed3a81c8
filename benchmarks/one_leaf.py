"""How long a make takes when one model among a thousand recipes has changed, less the time in which its stages run.

Run it with `python -m benchmarks.one_leaf --folder DIR`; the folder is that of `benchmarks.noop`, whose project of
eleven thousand actions it uses. Each round changes the weights of one model, makes, and takes from the wall time of
its process all moments in which a worker was starting, importing or running a stage: from the moment in which the
first worker is seen to the first stage, and stages as the page has them. The unit is `python -c pass` of the same
environment, measured in between.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import numpy as np
import onnx
import psutil
from onnx import numpy_helper

from benchmarks.install import install
from benchmarks.noop import prepare

GOAL = 30.0


def change(model: Path, number: int) -> None:
    """Give the model other weights, each time others."""
    proto = onnx.load(model)
    weights = numpy_helper.to_array(proto.graph.initializer[0])
    other = np.random.default_rng([number, time.time_ns()]).normal(size=weights.shape).astype(np.float32)
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(other, proto.graph.initializer[0].name))
    onnx.save(proto, model)


def busy(spans: Iterable[tuple[float, float]]) -> float:
    """Return the seconds in which at least one span was open."""
    total, end = 0.0, 0.0
    for begin, until in sorted(spans):
        total += max(0.0, until - max(begin, end))
        end = max(end, until)
    return total


def stages(page: Path) -> list[tuple[float, float]]:
    """Return from when to when stages ran, as time of day, in the make that drew a page."""
    actions = json.loads(page.read_bytes())["volatile"]["actions"].values()
    ends = [(datetime.fromisoformat(a["made"]).timestamp(), a["seconds"]) for a in actions if a["started"] is not None]
    return [(end - took, end) for end, took in ends]


def make(command: list[str], folder: Path) -> tuple[float, float]:
    """Return the wall time of a make, and the time of day at which its first worker was there."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    while not psutil.Process(process.pid).children() and process.poll() is None:
        pass
    started = time.time()
    if process.wait() != 0:
        raise SystemExit("the make failed")
    return time.perf_counter() - began, started


def seconds(command: list[str], folder: Path) -> float:
    """Return the wall time of a command."""
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Prepare, measure and print the figures next to the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to keep the environment and the project")
    parser.add_argument("--recipes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="onnxbuild-leaf-"))
    programs = folder / "venv/bin"
    if not programs.exists():
        programs = install(folder)
    project = prepare(folder, programs, given.recipes)
    command = [str(programs / "onnxbuild"), "make"]
    unit = [str(programs / "python"), "-c", "pass"]
    walls, own, units = [], [], []
    for number in range(given.rounds):
        units += [seconds(unit, project) for _ in range(5)]
        name = f"r{number * 97 % given.recipes:04}"
        change(project / f"recipes/{name}/model.onnx", number)
        wall, started = make(command, project)
        ran = stages(project / f"reports/{name}.json")
        if not ran:
            raise SystemExit(f"nothing ran for {name}")
        walls.append(wall)
        own.append(wall - busy([*ran, (started, min(begin for begin, _ in ran))]))
        units += [seconds(unit, project) for _ in range(5)]
    base = statistics.median(units)
    print(f"{'python -c pass':32} {base * 1000:8.1f} ms")
    print(f"{'one leaf, whole process':32} {statistics.median(walls) * 1000:8.1f} ms")
    less = statistics.median(own)
    print(f"{'less its stages':32} {less * 1000:8.1f} ms {less / base:6.2f} x  goal {GOAL} x")
    print("each round: " + ", ".join(f"{value * 1000:.0f}" for value in own))


if __name__ == "__main__":
    main()
