"""Recorded benchmarks as a page shows them: words, charts, and the index's column."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

from onnxbuild.proof.estimates import latency_of, versus_of
from onnxbuild.proof.timing import Estimate, Loading, Memory, Setting, Surroundings
from onnxbuild.proof.tuning import Tried
from onnxbuild.recipe.types import Session
from onnxbuild.report.charts.distribution import Line, distribution, scale_end
from onnxbuild.report.facts import BenchmarkedProvider, ReportFacts, TargetFacts, VersusFacts
from onnxbuild.report.numbers import NONE
from onnxbuild.report.pages.latency import latency, memory_table, milliseconds, versus_sentence
from onnxbuild.report.pages.tuning import tuning
from onnxbuild.report.render import render_index, render_recipe
from onnxbuild.report.summary import index_facts
from onnxbuild.stages.benchmark import BenchmarkFacts
from onnxbuild.stages.tune import TuneFacts
from tests.report.page_text import visible_text
from tests.report.sample import report

PLACE = Surroundings(cpu="Some CPU", cores=8, threads=2, load_before=0.25, load_after=1.5, governor="performance")
MEMORY = Memory(
    batch=8,
    base=60_000_000,
    peak=Estimate(12e6, 11e6, 13e6),
    settings=(
        Setting(arena=True, pattern=True, own=True, peak=Estimate(12e6, 11e6, 13e6)),
        Setting(arena=True, pattern=False, own=False, peak=Estimate(9e6, 8e6, 9.5e6)),
        Setting(arena=False, pattern=True, own=False, peak=Estimate(10e6, 10e6, 10e6)),
    ),
    arena=3_000_000,
    in_use=2_000_000,
)


def samples(middle: float, seed: int) -> list[int]:
    return (np.random.default_rng(seed).gamma(16.0, size=1000) / 16 * middle * 1e6).astype(int).tolist()


def measured() -> ReportFacts:
    """The sample's report, its second variant measured on one provider and in turns with the first."""
    facts = report()
    benchmark = BenchmarkFacts(
        surroundings=PLACE,
        latencies=(latency_of(samples(2.0, 1), 1), latency_of(samples(8.0, 2), 8)),
        loading=Loading(cold=120.0, warm=40.0, first=0.5, first_warm=0.25),
        memory=MEMORY,
    )
    versus = VersusFacts(
        other="fp32", provider="cpu", versus=versus_of(samples(2.0, 3), samples(3.0, 4), 1), surroundings=PLACE
    )
    own = msgspec.structs.replace(facts.targets[1], benchmarks=(BenchmarkedProvider("cpu", benchmark),), versus=versus)
    return msgspec.structs.replace(facts, targets=(facts.targets[0], own, *facts.targets[2:]))


def test_page_tells_what_was_measured_and_where() -> None:
    text = " ".join(visible_text(render_recipe(measured())).split())
    assert "Half of the calls with a batch of 1 took at most 1.9" in text
    assert "most rows a second with a batch of 8" in text
    assert "Some CPU, 8 cores" in text
    assert "2, idle rather than spinning" in text
    assert "0.25, 1.5" in text
    assert "performance" in text
    assert "int8 is faster than fp32: 1.4" in text
    assert "over 1,000 rounds in turns" in text
    assert "of it 2 MB in use at once" in text
    assert "120 ms | 500 µs | 40 ms | 250 µs" in text


def test_memory_is_told_for_each_setting_of_arena_and_pattern() -> None:
    table = memory_table(measured().targets[1])
    assert table is not None
    told = {
        column.label: (cell.text, cell.note) for column, cell in zip(table.columns, table.rows[0].cells, strict=True)
    }
    assert told["Arena and pattern"] == ("12 MB", "this session, 11 MB to 13 MB")
    assert told["No memory pattern"] == ("9 MB", "8 MB to 9.5 MB")
    assert told["No arena"] == ("10 MB", ""), "of one process"
    assert told["Neither"][0] == NONE


def test_variants_that_were_not_measured_say_nothing() -> None:
    text = visible_text(render_recipe(report()))
    assert "\nLatency\n" not in text
    assert "Peak memory" not in text


def test_index_has_a_column_where_anything_was_measured() -> None:
    index = index_facts((measured(),))
    assert [len(row.latencies) for row in index.rows] == [0, 1, 0, 0, 0]
    assert index.rows[1].latencies[0].batch == 1
    assert "Latency on cpu" in visible_text(render_index(index))
    assert "Latency" not in visible_text(render_index(index_facts((report(),))))


def test_equal_speed_is_called_so() -> None:
    versus = versus_of(samples(2.0, 1), samples(2.0, 7), 4)
    equal = msgspec.structs.replace(versus, ratio=Estimate(1.01, 0.98, 1.04))
    assert versus_sentence("int8", "fp32", equal) == (
        "No significant difference between int8 and fp32 at batch 4: 1.010x as fast, 99% interval 0.980x to 1.040x, "
        "over 1,000 rounds in turns."
    )
    slow = msgspec.structs.replace(versus, ratio=Estimate(0.5, 0.4, 0.6))
    assert versus_sentence("int8", "fp32", slow).startswith("int8 is slower than fp32 at batch 4: 0.500x as fast")
    few = msgspec.structs.replace(versus, ratio=Estimate(1.5, 1.2, None))
    assert "99% interval 1.200x or more" in versus_sentence("int8", "fp32", few)


def test_every_run_is_in_the_line_and_slow_ones_leave_the_axis() -> None:
    curve = [1.0] * 101 + [1.5] * 89 + [50.0] * 11
    end = scale_end([curve])
    assert 1.5 < end <= 2.2401
    drawn = str(distribution([Line("a", curve)], end, ((0.0, "0"), (1.0, "p50")), "<b>"))
    points = re.findall(r"[ML]([0-9.]+) ([0-9.]+)", drawn)
    assert all(float(x) <= 1000 and 0 <= float(y) <= 100 for x, y in points)
    assert float(points[-1][0]) == 1000
    assert "&lt;b&gt;" in drawn


def test_target_with_turns_only_has_a_section() -> None:
    target: TargetFacts = msgspec.structs.replace(measured().targets[1], benchmarks=())
    section = latency(target)
    assert section is not None
    assert section.parts == ()
    assert section.against is not None


def test_a_provider_that_is_not_there_has_its_reason_and_no_figures() -> None:
    facts = measured()
    absent = BenchmarkFacts(surroundings=PLACE, absent="libcublas.so is missing")
    one = msgspec.structs.replace(facts.targets[1], benchmarks=(BenchmarkedProvider("cuda", absent),), versus=None)
    text = visible_text(render_recipe(msgspec.structs.replace(facts, targets=(one,))))
    assert "Not measured: libcublas.so is missing." in text
    assert "Measured on" not in text
    assert "Latency by batch size" not in text


@pytest.mark.parametrize(("objective", "label"), [("memory", "Least to most"), ("latency", "99% interval")])
def test_what_the_ends_of_a_gain_are_is_told(objective: str, label: str) -> None:
    """Memory is looked at in a few processes, of which there is no interval."""
    tried = Tried(session=Session(cpu_arena=False), against=Session(), gain=Estimate(1.1, 1.05, 1.2))
    facts = TuneFacts(
        objective=objective, provider="cpu", batch=1, session=Session(), tried=(tried,), surroundings=PLACE, machine="x"
    )
    told = tuning(facts)
    assert told is not None
    assert [column.label for column in told.table.columns][3] == label


def test_durations_have_the_unit_that_reads_best() -> None:
    assert [milliseconds(value) for value in (0.0187, 1.0, 5.123, 2345.6)] == ["18.7 µs", "1 ms", "5.12 ms", "2.35 s"]
