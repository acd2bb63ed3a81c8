"""The summary's own rules: names cannot leave their cell, mention anyone or become HTML; the whole fits a comment."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from onnxbuild.proof.gates import Verdict
from onnxbuild.report.account import Account
from onnxbuild.report.facts import ReportFacts
from onnxbuild.report.junit import junit
from onnxbuild.report.markdown import LIMIT, code, markdown, plain

HOSTILE = (
    "x|y\n\n<img src=x onerror=alert(1)> [a](http://evil) ![i](//e) `c` @octocat #12 **b** &lt; www.evil.com :boom: "
    "\u202e$a$"
)


def account(facts: ReportFacts) -> Account:
    names = frozenset(target.name for target in facts.targets)
    return Account(root=Path("/p"), reports=Path("/p/reports"), recipes=(facts,), selected=names)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("write", [plain, code])
def test_nothing_in_a_name_means_anything(write: object) -> None:
    shown = write(HOSTILE)  # type: ignore[operator]
    assert re.search(r"[|\n`*\[\]\u202e]|://|www\.|:boom:", shown.replace("<code>", "")) is None
    seen = _Tags()
    seen.feed(shown)
    assert seen.tags == (["code"] if write is code else [])
    assert "alert(1)" in seen.text or write is code
    assert "@octocat" not in plain(HOSTILE)
    assert "#12" not in seen.text or write is code


def test_ordinary_names_stay_readable() -> None:
    assert code("digits-cnn:int8/validate@cpu.1") == "<code>digits-cnn:int8/validate@cpu.1</code>"
    assert plain("metric on cpu is 96.00%, required at_least 97%") == "metric on cpu is 96.00%, required at_least 97%"


def test_a_hostile_gate_stays_in_its_row(digits: ReportFacts) -> None:
    target = digits.targets[0]
    gate = msgspec.structs.replace(target.gates[0], gate=f"tolerance.{HOSTILE}.atol", verdict=Verdict.FAILED)
    target = msgspec.structs.replace(target, gates=(gate,), verdict=Verdict.FAILED)
    text = markdown(account(msgspec.structs.replace(digits, targets=(target,))), Path("/p"))
    table = text.split("### Failed gates\n\n")[1].split("\n\n")[0].splitlines()
    assert [line.count("|") for line in table] == [7, 7, 7]


def test_a_large_project_fits_a_comment_and_says_what_is_left_out(digits: ReportFacts) -> None:
    targets = tuple(
        msgspec.structs.replace(digits.targets[2], name=f"digits-cnn:{'v' * 60}{n}", variant=f"{'v' * 60}{n}")
        for n in range(400)
    )
    text = markdown(account(msgspec.structs.replace(digits, targets=targets)), Path("/p"))
    assert len(text) <= LIMIT
    assert re.search(r"Showing \d+ of 400\.", text)
    assert text.startswith("## onnxbuild: 400 failed")


def test_junit_holds_what_xml_cannot_hold(digits: ReportFacts) -> None:
    target = msgspec.structs.replace(digits.targets[0], variant="a\x00\x0b\ufffe<b>\ud800")
    text = junit(account(msgspec.structs.replace(digits, targets=(target,)))).decode()
    assert "a[U+0000][U+000B][U+FFFE]&lt;b&gt;[U+D800]" in text
