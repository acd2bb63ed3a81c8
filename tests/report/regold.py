"""Write the gold files and the sample's pages again: `python -m tests.report.regold`, then read the difference."""

from __future__ import annotations

from pathlib import Path

from onnxbuild.base.codec import decode
from onnxbuild.report.facts import IndexFacts, ReportFacts
from onnxbuild.report.render import render_index, render_recipe
from onnxbuild.report.summary import index_facts
from tests.report.page_text import visible_text

HERE = Path(__file__).parent
SAMPLE = HERE.parents[1] / "reports/sample"


def gold_files() -> dict[str, str]:
    """Return the text of each gold file, drawn from the recorded facts."""
    facts = {stem: decode((HERE / f"facts_{stem}.json").read_bytes(), ReportFacts) for stem in ("digits", "single")}
    texts = {f"gold_{stem}.txt": visible_text(render_recipe(fact)) for stem, fact in facts.items()}
    return texts | {"gold_index.txt": visible_text(render_index(index_facts(tuple(facts.values()))))}


def sample_pages() -> dict[str, str]:
    """Return the sample's pages by name, drawn from their JSON twins."""
    pages = {}
    for twin in sorted(SAMPLE.glob("*.json")):
        data = twin.read_bytes()
        is_index = twin.stem == "index"
        page = render_index(decode(data, IndexFacts)) if is_index else render_recipe(decode(data, ReportFacts))
        pages[f"{twin.stem}.html"] = page
    return pages


if __name__ == "__main__":
    for name, page in sample_pages().items():
        (SAMPLE / name).write_text(page, "utf-8")
    for name, text in gold_files().items():
        (HERE / name).write_text(text, "utf-8")
