"""The engine's share of a cold build: `make -j1` against one script that makes the same calls in one process.

    python benchmarks/cold_build.py [--recipes digits-cnn digits-transformer] [--rounds 3] [--folder DIR]

The script calls the stages one after another: reference and validation included, artifacts in plain folders, frameworks
imported once, and in the order of the plan. What the make takes beyond it is the engine: worker processes, keys, store,
gates, delivery and reports. Rounds are interleaved and their medians compared.
"""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_script(root: Path, recipes: list[str]) -> None:
    """Run every stage of the recipes in this process, without keys, store, workers and reports."""
    from onnxbuild.api import open_project
    from onnxbuild.base.codec import encode
    from onnxbuild.engine.host import FIXED, OFFLINE, ONE_THREAD
    from onnxbuild.plan.build import build_plan
    from onnxbuild.stages.stage import Workspace
    from onnxbuild.stages.table import STAGES

    os.environ.update({**FIXED, **OFFLINE, **ONE_THREAD})
    workplace = open_project(root, recipes)
    plan = build_plan(workplace.recipes, workplace.selected)
    for module in dict.fromkeys(m for a in plan.actions.values() for m in STAGES[a.stage].preload(a.params)):
        importlib.import_module(module)
    folders: dict[str, Path] = {}
    for number, action in enumerate(plan.actions.values()):
        folders[action.name] = work = root / "script" / str(number)
        (work / "tmp").mkdir(parents=True)
        os.chdir(root / action.folder)
        sys.path[:0] = [str(root), *(str((root / f).parent) for f in action.files.values() if f.endswith(".py"))]
        facts = STAGES[action.stage].run(
            action.params,
            Workspace(
                inputs={label: folders[ref.action] / "out" / ref.output for label, ref in action.inputs.items()},
                files={label: root / path for label, path in action.files.items()},
                out=work / "out",
                scratch=work / "tmp",
                recipe_folder=root / action.folder,
            ),
        )
        (work / "facts.json").write_bytes(encode(facts))


def cpu_seconds() -> float:
    """Return the CPU time of all children so far: on a busy machine it says more than the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(folder: Path | None, recipes: list[str], rounds: int) -> dict[str, float]:
    """Return the median seconds of the script and of the make, each in fresh copies of the examples."""
    times: dict[str, list[float]] = {"script": [], "make": []}
    work: dict[str, list[float]] = {"script": [], "make": []}
    ways = {"script": [__file__, "--script", *recipes], "make": ["-m", "onnxbuild", "make", "-j1", *recipes]}
    for _ in range(rounds):
        for name, arguments in ways.items():
            root = Path(tempfile.mkdtemp(dir=folder, prefix="cold-"))
            shutil.copytree(ROOT / "recipes", root / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
            began, used = time.perf_counter(), cpu_seconds()
            subprocess.run(
                [sys.executable, *arguments],
                cwd=root,
                env={**os.environ, "PYTHONHASHSEED": "0"},
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # in the script, what the make's stages write to their logs
            )
            times[name].append(time.perf_counter() - began)
            work[name].append(cpu_seconds() - used)
            shutil.rmtree(root)
    for name, taken in times.items():
        print(f"{name:7} {' '.join(f'{t:.1f}' for t in taken)} s, CPU {' '.join(f'{t:.1f}' for t in work[name])} s")
    return {name: statistics.median(taken) for name, taken in times.items()}


def main() -> None:
    """Measure and print the figures next to their goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", nargs="+", default=["digits-cnn", "digits-transformer"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work")
    parser.add_argument("--script", nargs="+", metavar="RECIPE", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.script:
        run_script(Path.cwd(), chosen.script)
        return
    median = measure(chosen.folder, chosen.recipes, chosen.rounds)
    share = (median["make"] - median["script"]) / median["make"]
    print(f"script {median['script']:.1f} s, make {median['make']:.1f} s")
    print(f"the engine's share of a cold build {share:5.0%}  (goal: at most 10 %)")


if __name__ == "__main__":
    main()
