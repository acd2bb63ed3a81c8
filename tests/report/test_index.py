"""The index: lines of what was accepted, latencies by provider, what is left out where there is no room."""

from __future__ import annotations

import re

import msgspec
import pytest

from onnxbuild.proof.gates import Verdict
from onnxbuild.report.charts.spark import HEIGHT, WIDTH, spark
from onnxbuild.report.facts import IndexFacts, IndexLatency, IndexRow, ReportFacts
from onnxbuild.report.render import render_index
from onnxbuild.report.summary import index_facts
from onnxbuild.report.write import align_rows, draw_rows
from tests.report.page_text import read, visible_text
from tests.report.test_latency import measured


def points(drawn: str) -> list[tuple[float, float]]:
    path = re.search('d="([^"]*)"', drawn)
    assert path is not None
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](\S+?) ([0-9.]+)", path[1])]


def test_a_line_goes_from_left_to_right_and_greater_is_higher() -> None:
    drawn = points(spark([1.0, 3.0, 2.0], "x", is_new=False))
    assert [x for x, _ in drawn] == sorted(x for x, _ in drawn)
    assert drawn[1][1] < drawn[2][1] < drawn[0][1]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in drawn)


def test_small_changes_look_small_and_gaps_are_gaps() -> None:
    flat = points(spark([100.0, 100.0], "x", is_new=False))
    assert flat[0][1] == flat[1][1] == HEIGHT / 2
    little = points(spark([100.0, 100.1], "x", is_new=False))
    assert 0 < little[0][1] - little[1][1] < 1
    assert spark([1.0, None, 2.0], "x", is_new=False).count("M") == 2
    assert points(spark([0.0, 0.0], "x", is_new=False))[0][1] == HEIGHT / 2


def test_what_is_not_accepted_has_an_open_dot() -> None:
    assert 'class="new"' in spark([1.0, 2.0], "x", is_new=True)
    assert 'class="last"' in spark([1.0, 2.0], "<x>", is_new=False)
    assert "&lt;x&gt;" in spark([1.0, 2.0], "<x>", is_new=False)


def test_trends_and_deltas_of_the_sample(digits: ReportFacts) -> None:
    row = index_facts([digits]).rows[1]
    assert row.bytes_trend == (44_100, 44_100, 43_700, 42_890)
    assert row.metric_trend == tuple(n / 540 for n in (519, 524, 530, 533))
    assert (row.metric_accepted, row.metric_exceeds) == (533 / 540, True)
    labels = [
        str(a["aria-label"]) for _, a in read(render_index(IndexFacts(rows=(row,)))).elements if "spark" in str(a)
    ]
    assert labels == [
        "accuracy as accepted 4 times: 96.11% to 98.70%; now 97.41%",
        "size as accepted 4 times: 42.9 kB to 44.1 kB; now 42.6 kB",
    ]


def test_another_metric_begins_a_line_of_its_own(digits: ReportFacts) -> None:
    target = digits.targets[1]
    other = [msgspec.structs.replace(figures, names={"cpu": "f1"}) for figures in target.history[:3]]
    target = msgspec.structs.replace(target, history=(*other, target.history[3]))
    row = index_facts([msgspec.structs.replace(digits, targets=(target,))]).rows[0]
    assert row.metric_trend == ()
    assert len(row.bytes_trend) == 4


def test_latency_against_the_lock() -> None:
    row = index_facts((measured(),)).rows[1]
    (found,) = row.latencies
    assert (found.provider, found.accepted, found.exceeds) == ("cpu", 0.0412, True)
    assert found.trend == (0.052, 0.0412), "from the first that is known"
    text = visible_text(render_index(IndexFacts(rows=(row,))))
    assert re.search(r"1\.9\d ms\s+\+4\d\d\d%, beyond noise", text)


@pytest.fixture
def timed(digits: ReportFacts) -> tuple[IndexRow, IndexRow]:
    row = index_facts([digits]).rows[0]
    cpu, cuda = (IndexLatency(provider=name, batch=batch, median=2.0) for name, batch in (("cpu", 1), ("cuda", 8)))
    return msgspec.structs.replace(row, target="a", latencies=(cpu,)), msgspec.structs.replace(
        row, target="b", latencies=(cuda, cpu)
    )


def test_each_provider_has_a_column(timed: tuple[IndexRow, IndexRow]) -> None:
    html = render_index(IndexFacts(rows=timed))
    heads = re.findall('<th scope="col"[^>]*>([^<]*)', html)
    assert [head for head in heads if "Latency" in head] == ["Latency on cpu", "Latency on cuda"]
    cells = [re.findall("<t[dh][ >]", row) for row in re.findall("<tr>.*?</tr>", html, re.S)]
    assert {len(row) for row in cells} == {len(heads)}
    assert "batch 8" in html


def test_rows_are_drawn_again_when_others_need_a_column(digits: ReportFacts) -> None:
    alone = draw_rows([digits])
    together = align_rows([*alone, *draw_rows([msgspec.structs.replace(measured(), name="other")])])
    assert {row.providers for row in together} == {("cpu",)}
    assert [row.row for row in together[: len(alone)]] == [row.row for row in alone]
    assert together[0].markup.count("<td") == alone[0].markup.count("<td") + 1
    assert align_rows(together) == together
    assert align_rows(alone)[0] is alone[0], "what has its columns is not drawn again"


def test_rows_go_before_lines_and_what_is_not_passed_before_the_rest(digits: ReportFacts) -> None:
    row = index_facts([digits]).rows[1]
    rows = [msgspec.structs.replace(row, target=f"t{n}", verdict=Verdict.PASSED) for n in range(1500)]
    rows[-1] = msgspec.structs.replace(rows[-1], verdict=Verdict.FAILED, accepted="x" * 50_000)
    drawn = {each.target: f'<tr><td><svg class="spark">{"l" * 400}</svg>{each.target}</td></tr>' for each in rows}
    html = render_index(IndexFacts(rows=tuple(rows)), drawn)
    assert "showing 1,200 of 1,500" in html
    assert "too many rows for lines" in html
    assert '<svg class="spark"' not in html
    assert "t1499<" in html
    few = render_index(IndexFacts(rows=tuple(rows[:3])), {name: drawn[name] for name in ("t0", "t1", "t2")})
    assert few.count('<svg class="spark"') == 3
    assert "Lines are what was accepted" in few
