"""How long drawing the reports of many recipes takes on one core: `python -m benchmarks.report [RECIPES]`.

The facts are those of the tests' sample, as many recipes under names of their own; target: 100 recipes in 5 s.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import msgspec

from onnxbuild.base.codec import decode
from onnxbuild.report.charts.layout import forget_layouts
from onnxbuild.report.facts import ReportFacts
from onnxbuild.report.write import write_reports

SAMPLE = Path(__file__).parents[1] / "tests/report/facts_digits.json"
TARGET = 5.0


def main(count: int) -> int:
    """Draw `count` recipes' pages and return 1 when that misses the target."""
    facts = decode(SAMPLE.read_bytes(), ReportFacts)
    reports = [msgspec.structs.replace(facts, name=f"recipe-{number}") for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        for report in reports:
            forget_layouts()  # other recipes have other graphs
            write_reports([report], Path(folder))
        drawn = time.process_time() - began
        size = sum(page.stat().st_size for page in Path(folder).glob("*.html"))
    targets = sum(len(report.targets) for report in reports)
    print(f"{count} recipes, {targets} targets, {size / 1e6:.1f} MB of pages: {drawn:.2f} s of one core")
    return 0 if drawn <= TARGET * count / 100 else 1


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
