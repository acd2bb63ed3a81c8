"""Numbers, budgets, gates and sentences as a reader gets them."""

from __future__ import annotations

import math
from itertools import pairwise

import msgspec
import pytest

from onnxbuild.proof.gates import GateResult, Verdict
from onnxbuild.proof.measures import OutputMeasures, WithinShare
from onnxbuild.proof.timing import Estimate
from onnxbuild.recipe.changes import RECIPE, Change, TargetChanges
from onnxbuild.recipe.types import Bound, OutputTolerance
from onnxbuild.report import numbers
from onnxbuild.report.budget import limit_text, metric_sentence, metric_used, used
from onnxbuild.report.change_text import change_sentence
from onnxbuild.report.charts.histogram import used_bins
from onnxbuild.report.charts.lineage import HEIGHT, Box, place
from onnxbuild.report.facts import ReportFacts
from onnxbuild.report.gate_text import gate_sentence, gate_unit, margin_text, measured_text
from onnxbuild.report.pages.changes import changes
from onnxbuild.report.pages.verdict import gate_table
from onnxbuild.report.render import render_recipe
from onnxbuild.report.summary import baseline_of, index_facts, sentence, size_sentence, speed_sentence, target_summary
from onnxbuild.stages.validate import MetricMeasure
from tests.report.test_latency import measured


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0123456, "0.0123"),
        (1.234e-7, "1.23e-7"),
        (1e-6, "1e-6"),
        (-2.5, "−2.5"),
        (999.6, "1,000"),
        (12345.0, "12,345"),
        (1.5e9, "1.5e9"),
        (None, "–"),
        ("nan", "NaN"),
        (math.inf, "∞"),
        ("-inf", "−∞"),
    ],
)
def test_number(value: float | str | None, text: str) -> None:
    assert numbers.number(value) == text


def test_shares_are_not_rounded_to_nothing() -> None:
    assert [numbers.percent(s) for s in (0.0, 1e-9, 0.5, 1.0)] == ["0%", "<0.1%", "50.0%", "100.0%"]
    assert numbers.metric_change("accuracy", -0.0012) == "−0.12"
    assert numbers.metric_change("accuracy", -1e-9) == "−0.00"
    assert numbers.metric_change("rmse", 0.25) == "+0.25"
    assert numbers.size_change(1000, 280) == "−72%"


OUTPUT = OutputMeasures(
    name="y",
    dtype="float32",
    elements=10,
    unequal=3,
    max_abs=0.02,
    mean_abs=0.001,
    cosine=0.999,
    sqnr_db=40.0,
    argmax_agreement=0.995,
    frontier=((0.02, 10.0), (0.005, 0.1)),
    within=(WithinShare(atol=0.01, rtol=0.0, share=0.9995),),
)


@pytest.mark.parametrize(
    ("tolerance", "measure", "share"),
    [
        (OutputTolerance(atol=0.01, rtol=0.001), "elementwise", 1.0),  # 0.02 / (0.01 + 0.01) beats 0.005 / 0.0101
        (OutputTolerance(atol=0.01, share=0.999), "elementwise", 0.5),
        (OutputTolerance(max_abs=0.04), "max_abs", 0.5),
        (OutputTolerance(max_abs=0.01, share=0.999), "max_abs", 0.5),
        (OutputTolerance(mean_abs=0.004), "mean_abs", 0.25),
        (OutputTolerance(cosine=0.998), "cosine", 0.5),
        (OutputTolerance(sqnr_db=20.0), "sqnr_db", 0.1),
        (OutputTolerance(argmax_agreement=0.99), "argmax_agreement", 0.5),
    ],
)
def test_share_of_a_limit(tolerance: OutputTolerance, measure: str, share: float) -> None:
    assert used(tolerance, measure, OUTPUT) == pytest.approx(share)
    assert limit_text(tolerance, measure)


def test_what_is_not_finite_is_beyond_any_limit() -> None:
    broken = msgspec.structs.replace(OUTPUT, max_abs="nan", nan_mismatches=1, cosine="nan")
    assert used(OutputTolerance(atol=1.0), "elementwise", broken) == math.inf
    assert used(OutputTolerance(cosine=0.9), "cosine", broken) == math.inf


def test_integers_are_equal_or_beyond_any_limit() -> None:
    label = OutputMeasures(name="label", dtype="int64", elements=9, unequal=0)
    assert used(OutputTolerance(atol=1e-4, rtol=1e-3), "elementwise", label) == 0.0
    other = msgspec.structs.replace(label, unequal=1)
    assert used(OutputTolerance(atol=1.0), "elementwise", other) == math.inf
    assert used(OutputTolerance(max_abs=1.0), "max_abs", other) == math.inf
    assert used(OutputTolerance(argmax_agreement=7 / 9), "argmax_agreement", other) == pytest.approx(0.5)


def test_metric_budget_and_sentence() -> None:
    measure = MetricMeasure(name="accuracy", model=0.9758, source=0.977, higher_is_better=True)
    drop = Bound(kind="max_drop", value=0.005)
    assert metric_used(drop, measure) == pytest.approx(0.24)
    assert metric_sentence(measure, drop) == "accuracy −0.12 points, limit −0.50"
    error = MetricMeasure(name="rmse", model=2.1, source=2.0, higher_is_better=False)
    assert metric_used(Bound(kind="at_most", value=1.1, of="source"), error) == pytest.approx(0.5)
    assert (
        metric_used(Bound(kind="at_least", value=0.99, of="source"), msgspec.structs.replace(measure, model=0.99))
        == 0.0
    )


def gate(name: str, limit: str, measured: float, margin: float, verdict: Verdict = Verdict.FAILED) -> GateResult:
    return GateResult(gate=name, provider="cpu", limit=limit, measured=measured, margin=margin, verdict=verdict)


def test_gates_speak_in_their_unit() -> None:
    assert gate_unit(gate("size", "at most 30% of fp32", 0.4, -0.1)) == "percent"
    assert measured_text(gate("size", "at most 2 MB", 2_500_000, -500_000)) == "2.5 MB"
    assert margin_text(gate("size", "at most 2 MB", 2_500_000, -500_000)) == "−500 kB"
    assert measured_text(gate("speed", "at least 1.1x of fp32", 0.9, -0.2)) == "0.90x"
    assert measured_text(gate("latency", "p95 at most 5 ms", 5.5, -0.5)) == "5.5 ms"
    assert measured_text(gate("placement", "at least 95%", 0.5, -0.45)) == "50.00%"
    assert gate_sentence(gate("tolerance.metric", "at least 97%", 0.96, -0.01), "accuracy") == (
        "metric on cpu is 96.00%, required at least 97%, missed by 1.00 points"
    )


def test_a_cosine_near_one_is_told_from_one() -> None:
    near = gate("tolerance.y.cosine", "at least 0.99995", 0.9999639, 1.39e-5)
    assert (measured_text(near), margin_text(near)) == ("0.999964", "+1.39e-5")
    assert measured_text(gate("tolerance.y.cosine", "at least 0.99", 0.9951, 0.0051)) == "0.9951"


def test_elementwise_gates_say_what_would_have_passed() -> None:
    atol = gate("tolerance.y.atol", "atol 0.0001, rtol 0.001", 0.00623, -0.00613)
    assert gate_sentence(atol) == "y on cpu needs atol 0.00623, allowed is atol 0.0001, rtol 0.001"
    share = gate("tolerance.y.atol", "atol 0.0001 for 99.9% of elements", 0.998, -0.001)
    assert gate_sentence(share) == (
        "y.atol on cpu is 99.80%, required atol 0.0001 for 99.9% of elements, missed by 0.10 points"
    )
    equal = gate("tolerance.y.atol", "every element equal", 2.0, -2.0)
    assert measured_text(equal) == "2 differ"


def test_sentences_of_the_sample(digits: ReportFacts) -> None:
    fp32, int8, fp16, pruned, int4 = digits.targets
    assert sentence(int8, digits.targets) == "int8 is 3.6x smaller than fp32; accuracy −0.19 points, limit −0.98"
    assert baseline_of(fp32, digits.targets) == ("the exported model", 155_378)
    assert baseline_of(pruned, digits.targets) == ("fp32", fp32.bytes)
    assert target_summary(digits, int4).startswith("digits-cnn:int4/quantize failed: no MatMul")
    assert "logits on cpu needs atol 0.00623" in target_summary(digits, fp16)


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "as large as"), (1.04, "4% larger than"), (0.97, "3% smaller than"), (0.5, "2.0x smaller than")],
)
def test_size_is_called_the_same_only_where_it_is(digits: ReportFacts, share: float, text: str) -> None:
    fp32, int8, *_ = digits.targets
    assert fp32.bytes is not None
    sized = msgspec.structs.replace(int8, bytes=round(fp32.bytes * share))
    assert size_sentence(sized, (fp32, sized)) == f"{text} fp32"


def test_an_accepted_measurement_has_the_unit_of_its_own_limit(digits: ReportFacts) -> None:
    def cell(limits: dict[str, str], measured: float) -> tuple[str, str]:
        own = digits.targets[1]
        assert own.accepted is not None
        accepted = msgspec.structs.replace(own.accepted, limits=limits, measured={"size": measured}, waivers={})
        facts = msgspec.structs.replace(digits, targets=(msgspec.structs.replace(own, accepted=accepted),))
        row = next(row for row in gate_table(facts).rows if row.cells[0].name == "size")
        return row.cells[5].text, row.cells[5].note

    assert cell({"size": "at most 43 kB"}, 42_890) == ("42.9 kB", "required at most 43 kB")
    assert cell({"size": "at most 30% of fp32"}, 0.285) == ("28.50%", "")
    assert cell({}, 42_890) == ("–", ""), "an older lock does not say what its number is"


def test_speed_is_in_the_sentence_where_it_was_measured(digits: ReportFacts) -> None:
    int8 = measured().targets[1]
    assert " smaller than fp32; 1.4x as fast as fp32 on cpu; accuracy " in sentence(int8, digits.targets)
    assert int8.versus is not None

    def said(*ratio: float) -> str | None:
        versus = msgspec.structs.replace(int8.versus.versus, ratio=Estimate(*ratio))
        return speed_sentence(msgspec.structs.replace(int8, versus=msgspec.structs.replace(int8.versus, versus=versus)))

    assert said(0.5, 0.4, 0.6) == "2.0x slower than fp32 on cpu"
    assert said(1.03, 1.02, 1.04) == "slightly faster than fp32 on cpu"
    assert said(0.97, 0.96, 0.98) == "slightly slower than fp32 on cpu"
    assert said(1.06, 1.05, 1.07) == "1.1x as fast as fp32 on cpu"
    assert said(1.01, 0.9, 1.1) == "not significantly faster or slower than fp32 on cpu"
    assert speed_sentence(digits.targets[0]) is None


def test_what_is_not_failed_and_not_as_accepted_is_to_accept(digits: ReportFacts) -> None:
    assert changes(digits).accept == "onnxbuild accept digits-cnn:int8 digits-cnn:pruned"
    whole = msgspec.structs.replace(digits, targets=digits.targets[1:2])
    assert changes(whole).accept == "onnxbuild accept digits-cnn"
    assert changes(msgspec.structs.replace(digits, targets=digits.targets[:1])).accept == ""


def test_without_figures_what_differs_in_them_alone_is_called_so() -> None:
    size = TargetChanges(variant="v", kind="changed", bytes=(10, 20))
    assert change_sentence(size) == "size +100%"
    assert change_sentence(size, figures=False) == "nothing but figures"
    lines = TargetChanges(variant="v", kind="changed", inputs=(Change(what=RECIPE, old="a", new="b", kind="digest"),))
    assert change_sentence(lines, figures=False) == "as accepted, but for lines of the recipe"
    both = msgspec.structs.replace(lines, bytes=(10, 20))
    assert change_sentence(both, figures=False) == "other lines in the recipe"


def test_index_rows(digits: ReportFacts) -> None:
    rows = {row.variant: row for row in index_facts([digits]).rows}
    assert rows["int8"].size_ratio == pytest.approx(0.2751, abs=1e-4)
    assert rows["int8"].link == "./digits-cnn.html#variant-int8"
    assert rows["int4"].verdict is Verdict.FAILED
    assert rows["int4"].metric is None


def test_lineage_boxes_do_not_overlap(digits: ReportFacts) -> None:
    boxes = [Box(a.name, a.stage, "", "ok", a.inputs) for a in digits.actions]
    at = dict(zip([box.id for box in boxes], place(boxes).centres, strict=True))
    for box in boxes:
        for reads in box.inputs:
            assert at[reads][1] < at[box.id][1], "edges go to the right: layers lie along y, which is drawn as x"
    places = sorted((layer, along) for along, layer in at.values())
    assert all(a[0] != b[0] or b[1] - a[1] >= HEIGHT for a, b in pairwise(places))


def test_histogram_shows_the_bins_that_are_used() -> None:
    counts = [0] * 17
    counts[7] = 3
    assert used_bins([counts]) == (6, 8)
    assert used_bins([[9] + [0] * 16]) == (5, 16)


@pytest.mark.parametrize(
    ("source", "is_told"), [("data/digits_test.npz", True), ("data/digits_train.npz", False), ("d.py:rows", False)]
)
def test_calibration_on_the_evaluation_s_file_is_told(digits: ReportFacts, source: str, is_told: bool) -> None:
    judged, fitted = digits.provenance.data
    judged = msgspec.structs.replace(judged, source="d.py:rows") if ":" in source else judged
    data = (judged, msgspec.structs.replace(fitted, source=source))
    page = render_recipe(
        msgspec.structs.replace(digits, provenance=msgspec.structs.replace(digits.provenance, data=data))
    )
    assert ("judged on what it was calibrated with" in page) is is_told
