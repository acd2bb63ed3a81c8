"""Screening: a part of the data from all over it, with its labels; what passes there is decided on the whole."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxbuild.data.calls import read_calls, write_calls
from onnxbuild.proof.ablation import Measured
from onnxbuild.recipe.types import Quantization
from onnxbuild.stages.proving import Prover, score_of
from onnxbuild.stages.quantizing import quantize_model
from onnxbuild.stages.repair import REPAIR, RepairParams
from onnxbuild.stages.screening import SAMPLES, Screen, fewer_samples
from tests.stages.models import floats
from tests.stages.searching import bench, joined, proofs
from tests.stages.test_repair import wide

MANY = floats("x", *[(64, 8)] * 20)


def test_a_part_is_taken_from_all_over_the_data_with_its_labels(tmp_path: Path) -> None:
    ws = bench(tmp_path, joined(), MANY)
    ws.inputs["labels"] = tmp_path / "labels"
    write_calls(ws.inputs["labels"], [{"labels": np.arange(1280)}])
    few, samples = fewer_samples(ws)
    assert samples == SAMPLES
    labels = read_calls(few.inputs["labels"])[0]["labels"]
    assert labels.tolist() == [i for start in (0, 320, 640, 960) for i in range(start, start + 64)]
    for name in ("calls", "reference"):
        every, some = read_calls(ws.inputs[name]), read_calls(few.inputs[name])
        for position, part in zip((0, 5, 10, 15), some, strict=True):
            np.testing.assert_equal(dict(part), dict(every[position]))


def test_little_data_is_taken_whole(tmp_path: Path) -> None:
    ws = bench(tmp_path, joined(), MANY[:4])
    assert fewer_samples(ws) == (ws, 256)
    assert fewer_samples(bench(tmp_path / "many", joined(), MANY), worth=1280)[1] == 1280


class Fixed:
    """A prover that gives what it is told, and counts."""

    def __init__(self, use: float, *, meets: bool) -> None:
        self.measured, self.asked = Measured(use=use, sqnr_db=0.0, meets=meets), 0

    def measure(self, folder: Path) -> Measured:
        self.asked += 1
        return self.measured


@pytest.mark.parametrize(
    ("use", "meets", "decided"), [(2.0, False, "part"), (0.5, True, "whole"), (math.inf, False, "whole")]
)
def test_what_meets_the_tolerance_or_cannot_be_told_is_measured_on_the_whole(
    use: float, meets: bool, decided: str
) -> None:
    part: Any = Fixed(use, meets=meets)
    whole: Any = Fixed(3.0, meets=False)
    assert Screen(part, whole).measure(Path()) is (whole if decided == "whole" else part).measured
    assert (part.asked, whole.asked) == (1, decided == "whole")


def test_a_repair_on_much_data_screens_its_choices_and_is_decided_on_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = bench(tmp_path, wide("fc2"), MANY)
    wanted = Quantization(mode="dynamic")
    ws.inputs["quantized"] = quantize_model(ws.inputs["model"], wanted, (), None, tmp_path / "naive").folder
    seen: Counter[int] = Counter()
    measure = Prover.measure

    def counting(prover: Prover, folder: Path) -> Measured:
        seen[sum(len(call["x"]) for call in read_calls(prover._ws.inputs["calls"]))] += 1
        return measure(prover, folder)

    monkeypatch.setattr(Prover, "measure", counting)
    facts = REPAIR.run(RepairParams(quantization=wanted, proofs=proofs(sqnr_db=30.0)), ws)
    assert (facts.changed, facts.after.meets, facts.screened) == (True, True, 256)
    assert facts.layers == ("fc2",)
    assert 0 < seen[1280] <= sum(tried.score is not None and tried.score.meets for tried in facts.tried) + 1
    assert seen[256] == len(facts.tried)
    whole = measure(Prover(proofs(sqnr_db=30.0), ws, generated=False, exact=True), ws.out / "model")
    assert facts.after.use == score_of(whole).use
