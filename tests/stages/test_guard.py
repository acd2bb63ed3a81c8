"""Guarded passes: real faults of real tools are found, named, left out and shown, and the rest is applied."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxbuild.stages.reverts import Reverted
from tests.stages.models import outputs_of
from tests.stages.test_optimize import optimize
from tests.stages.traps import TRAPS, Trap, outputs


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_a_fault_of_a_tool_is_found_named_and_left_out(tmp_path: Path, trap: Trap) -> None:
    assert not _is_right_raw(trap, tmp_path), "the installed tool does not have this fault any more"
    facts, ws = optimize(tmp_path / "ours", trap.step, trap.proto, calls=trap.calls)
    assert [(r.name, r.broke.code) for r in facts.reverted] == [(trap.culprit, trap.code)]
    for call in trap.calls:
        for ours, source in zip(outputs_of(ws.out / "model", call).values(), outputs(trap.proto, call), strict=True):
            np.testing.assert_allclose(ours, source, rtol=1e-4, atol=1e-5)
    assert [w.code for w in ws.warnings] == ["pass-reverted"]
    assert trap.culprit in ws.warnings[0].message
    assert facts.reverted[0].nodes <= trap.nodes
    _shows_it(ws.out / "repro", facts.reverted[0])


def _is_right_raw(trap: Trap, tmp_path: Path) -> bool:
    """Say whether the tool, called directly, leaves the model's results as they are."""
    try:
        raw = trap.raw(tmp_path)
    except Exception:
        return False
    for call in trap.calls:
        for got, source in zip(outputs(raw, call), outputs(trap.proto, call), strict=True):
            if got.shape != source.shape or not np.allclose(got, source, rtol=1e-2, atol=1e-2):
                return False
    return True


def _shows_it(repro: Path, reverted: Reverted) -> None:
    """Run the script beside the minimal model, which must tell the difference or fail as the tool does."""
    folder = repro / reverted.repro
    done = subprocess.run(
        [sys.executable, "-I", str(folder / "repro.py")], capture_output=True, text=True, timeout=60, check=False
    )
    assert "the model runs; applying the pass" in done.stdout, done.stderr
    if reverted.broke.code == "tool-failed":
        assert done.returncode != 0
        assert "Error" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "difference: " in line]
    found = [line.split("difference: ")[1] for line in lines]
    assert any(not text.startswith(("0.0 ", "none")) for text in found), done.stdout
