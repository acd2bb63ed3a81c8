"""The committed sample: pages that a stranger opens from a checkout, so whatever they lead to must be there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onnxbuild.base.codec import decode
from onnxbuild.report.facts import IndexFacts, ReportFacts
from tests.report.page_text import read
from tests.report.regold import SAMPLE, sample_pages

PAGES = sorted(SAMPLE.glob("*.html"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_all_links_of_the_sample_lead_somewhere(page: Path) -> None:
    links = [str(a["href"]) for tag, a in read(page.read_text("utf-8")).elements if tag == "a" and a.get("href")]
    assert links
    ids = {other.name: {a.get("id") for _, a in read(other.read_text("utf-8")).elements} for other in PAGES}
    for link in links:
        name, _, fragment = link.removeprefix("./").partition("#")
        assert (SAMPLE / (name or page.name)).is_file(), link
        assert not fragment or fragment in ids[name or page.name], link


def test_the_sample_is_as_its_facts_are_drawn_now() -> None:
    assert {page.name: page.read_text("utf-8") for page in PAGES} == sample_pages()


def test_the_sample_has_an_index_with_what_was_accepted_and_its_twins_are_readable() -> None:
    assert {page.stem for page in PAGES} >= {"index", "digits-cnn", "digits-mobile"}
    index = decode((SAMPLE / "index.json").read_bytes(), IndexFacts)
    assert any(row.bytes_trend for row in index.rows)
    assert {row.recipe for row in index.rows} == {page.stem for page in PAGES} - {"index"}
    for page in PAGES:
        if page.stem != "index":
            facts = decode(page.with_suffix(".json").read_bytes(), ReportFacts)
            assert json.loads(read(page.read_text("utf-8")).scripts["facts"])["name"] == facts.name
    assert any(found.lines for page in PAGES if page.stem != "index" for found in decode(
        page.with_suffix(".json").read_bytes(), ReportFacts).rewritten)  # fmt: skip
