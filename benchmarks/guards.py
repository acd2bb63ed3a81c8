"""What proof costs a cold build of the examples: `make -j1` with the guards and without them.

    python benchmarks/guards.py [--recipes digits-cnn digits-transformer] [--rounds 3] [--folder DIR]

Nothing a user could reach switches guards off: `unguarded/sitecustomize.py` takes them out of the processes of the
builds that are measured without, and the pages of each build tell whether it compared anything. Rounds are interleaved
and their medians compared; CPU time says more than the clock on a busy machine. A second make, with nothing to do, must
cost the same with and without: no guard runs then.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
GOAL = 0.25
WAYS: dict[str, dict[str, str]] = {"with": {}, "without": {"PYTHONPATH": str(Path(__file__).parent / "unguarded")}}


@dataclass(frozen=True)
class Taken:
    """Seconds of the clock and of processor time of a cold build, and of the clock of a warm one."""

    cold: float
    cpu: float
    warm: float


def build(folder: Path | None, recipes: list[str], extra: dict[str, str]) -> Taken:
    """Build a fresh copy of the examples twice."""
    root = Path(tempfile.mkdtemp(dir=folder, prefix="guards-"))
    shutil.copytree(ROOT / "recipes", root / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, **extra}
    command = [sys.executable, "-m", "onnxbuild", "make", "-j1", *recipes]
    taken = []
    for _ in range(2):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        taken.append((time.perf_counter() - began, cpu))
    compared = any(_compares(page) for page in (root / "reports").glob("*.json"))
    assert compared == ("PYTHONPATH" not in extra), "the guards were not where they were to be"
    shutil.rmtree(root)
    return Taken(cold=taken[0][0], cpu=taken[0][1], warm=taken[1][0])


def _compares(page: Path) -> bool:
    """Say whether any pass of a recipe was compared with its input."""
    steps = [step for target in json.loads(page.read_text()).get("targets", ()) for step in target["steps"]]
    return any(step["optimize"] and step["optimize"]["tested"]["sizes"] for step in steps)


def main() -> None:
    """Measure and print the figures next to their goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", nargs="+", default=["digits-cnn", "digits-transformer"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work")
    chosen = parser.parse_args()
    found: dict[str, list[Taken]] = {name: [] for name in WAYS}
    for _ in range(chosen.rounds):
        for name, extra in WAYS.items():
            found[name].append(build(chosen.folder, chosen.recipes, extra))
    for name, each in found.items():
        print(
            f"{name:8} cold {' '.join(f'{t.cold:.1f}' for t in each)} s, CPU {' '.join(f'{t.cpu:.1f}' for t in each)} s"
        )
    median = {
        name: Taken(*(statistics.median(getattr(t, field) for t in each) for field in ("cold", "cpu", "warm")))
        for name, each in found.items()
    }
    guarded, bare = median["with"], median["without"]
    print(f"guards add {guarded.cold / bare.cold - 1:5.1%} of the clock  (goal: at most {GOAL:.0%})")
    print(f"           {guarded.cpu / bare.cpu - 1:5.1%} of the processor time")
    print(f"a warm make takes {guarded.warm * 1000:.0f} ms with them, {bare.warm * 1000:.0f} ms without")


if __name__ == "__main__":
    main()
