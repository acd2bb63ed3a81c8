"""Write the gold files again: `python -m tests.report.regold`, then read the difference before committing it."""

from __future__ import annotations

from pathlib import Path

from onnxbuild.base.codec import decode
from onnxbuild.report.facts import ReportFacts
from onnxbuild.report.render import render_index, render_recipe
from onnxbuild.report.summary import index_facts
from tests.report.page_text import visible_text

HERE = Path(__file__).parent


def gold_files() -> dict[str, str]:
    """Return the text of each gold file, drawn from the recorded facts."""
    facts = {stem: decode((HERE / f"facts_{stem}.json").read_bytes(), ReportFacts) for stem in ("digits", "single")}
    texts = {f"gold_{stem}.txt": visible_text(render_recipe(fact)) for stem, fact in facts.items()}
    return texts | {"gold_index.txt": visible_text(render_index(index_facts(tuple(facts.values()))))}


if __name__ == "__main__":
    for name, text in gold_files().items():
        (HERE / name).write_text(text, "utf-8")
