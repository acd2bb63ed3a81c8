"""What a benchmark with default settings costs a target on the CPU: seconds of its action, of a small model.

Run it with `python -m benchmarks.measuring [--rounds 5]`; it exits with 1 where the median is above 5 s. What else runs
on the machine counts, so look at the load beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.projects import write_project

GOAL = 5.0
MAKE = [sys.executable, "-m", "onnxbuild", "make"]


def main() -> int:
    """Print the seconds of each round and the median against the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        write_project(project, 1)
        recipe = project / "recipes/r0000/recipe.yaml"
        recipe.write_text(recipe.read_text() + "benchmark: {}\n")
        taken = [seconds(project) for _ in range(rounds)]
    told = ", ".join(f"{each:.2f}" for each in taken)
    median = statistics.median(taken)
    print(f"benchmark@cpu: {told} s, median {median:.2f} s (goal: at most {GOAL:g}), load {os.getloadavg()[0]:.1f}")
    return int(median > GOAL)


def seconds(project: Path) -> float:
    """Measure the project's one target afresh and return the seconds that its benchmark took."""
    events = project / "events.jsonl"
    subprocess.run([*MAKE, "--remeasure", "--events", str(events)], cwd=project, check=True, capture_output=True)
    told = [json.loads(line) for line in events.read_text().splitlines()]
    (took,) = [e["seconds"] for e in told if e["event"] == "action" and e["stage"] == "benchmark"]
    return float(took)


if __name__ == "__main__":
    sys.exit(main())
