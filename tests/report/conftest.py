"""Recorded facts for the report's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxbuild.base.codec import decode
from onnxbuild.report.facts import ReportFacts

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def digits() -> ReportFacts:
    return decode((HERE / "facts_digits.json").read_bytes(), ReportFacts)


@pytest.fixture(scope="session")
def single() -> ReportFacts:
    return decode((HERE / "facts_single.json").read_bytes(), ReportFacts)
