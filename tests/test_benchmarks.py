"""What benchmarks take out of onnxbuild is still there to be taken out; times nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHECK = """\
import importlib, inspect, runpy, sys
changes = runpy.run_path(sys.argv[1])["CHANGES"]
del sys.meta_path[0]  # what changes modules as they are imported
for name, change in changes.items():
    module = importlib.import_module(name)
    before = {**vars(module)}
    change(module)
    for key, value in vars(module).items():
        if before.get(key) is not value:
            assert key in before, f"{name} has no {key} to replace"
            inspect.signature(value).bind(*inspect.signature(before[key]).parameters)
            print(name)
"""


def test_what_stands_in_for_guards_and_ledger_is_called_as_they_are() -> None:
    file = ROOT / "benchmarks/unproven/sitecustomize.py"
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(file)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "onnxbuild.plan.validations" in done.stdout.split()
