"""How long a make with nothing to do takes, against starting Python and against ninja; and what else starts lightly.

Run it with `python -m benchmarks.noop`; every figure is the median of interleaved runs, as a ratio to `python -c pass`
of the same environment. The project of ten thousand actions takes some minutes to build the first time; `--small`
leaves it out, `--folder` keeps everything for the next time.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.install import install
from benchmarks.projects import ACTIONS, write_ninja, write_project

RUNS = 25


def measure(commands: Sequence[tuple[list[str], Path]], runs: int = RUNS) -> list[float]:
    """Return the median wall time in seconds of each command in its folder, run in turns."""
    times: list[list[float]] = [[] for _ in commands]
    for _ in range(runs):
        for taken, (command, folder) in zip(times, commands, strict=True):
            began = time.perf_counter()
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in times]


def prepare(folder: Path, programs: Path, recipes: int) -> Path:
    """Return a built project of so many recipes, made when it is not there yet."""
    project = folder / f"recipes-{recipes}"
    if not project.exists():
        print(f"building {recipes * ACTIONS} actions ...", flush=True)
        write_project(project, recipes)
        subprocess.run([programs / "onnxbuild", "make", "-q"], cwd=project, check=True)
    subprocess.run([programs / "onnxbuild", "make", "-q"], cwd=project, check=True)
    return project


def main() -> None:
    """Prepare the projects, measure and print figures next to goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to keep the environment and the projects")
    parser.add_argument("--small", action="store_true", help="only the project of about 100 actions")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="onnxbuild-noop-"))
    programs = folder / "venv/bin"
    if not programs.exists():
        programs = install(folder)
    small = prepare(folder, programs, 9)
    make = [str(programs / "onnxbuild"), "make"]
    rows = [(make, small, "no-op make, 99 actions", 2.5)]
    if not given.small:
        rows.append((make, prepare(folder, programs, 1000), f"no-op make, {1000 * ACTIONS} actions", 5.0))
    rows.append(([str(programs / "onnxbuild"), "--help"], small, "--help", None))
    unit = [str(programs / "python"), "-c", "pass"]
    commands = [(unit, small), *((command, where) for command, where, _, _ in rows)]
    ninja = shutil.which("ninja")
    if ninja and not given.small:
        graph = folder / "ninja"
        if not graph.exists():
            write_ninja(graph, 1000 * ACTIONS)
            subprocess.run([ninja], cwd=graph, check=True, stdout=subprocess.DEVNULL)
        commands.append(([ninja], graph))
    base, *taken = measure(commands)
    print(f"{'python -c pass':32} {base * 1000:8.1f} ms")
    for seconds, (_, _, what, goal) in zip(taken, rows, strict=False):
        wanted = f"goal {goal} x" if goal is not None else ""
        print(f"{what:32} {seconds * 1000:8.1f} ms {seconds / base:6.2f} x  {wanted}")
    if len(taken) > len(rows):
        against = taken[1] / taken[-1]
        print(f"{'ninja, as many steps':32} {taken[-1] * 1000:8.1f} ms; the above is {against:.2f} x that  goal 3.0 x")
    if given.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
