"""What a reader sees, against gold files drawn from recorded facts; `python tests/report/regold.py` renews them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.regold import gold_files

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", ["gold_digits.txt", "gold_single.txt", "gold_index.txt"])
def test_pages_read_as_recorded(name: str) -> None:
    assert gold_files()[name] == (HERE / name).read_text("utf-8")
