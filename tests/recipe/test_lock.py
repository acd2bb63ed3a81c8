"""A lock that no onnxbuild wrote: whatever stands in it is told, nothing of it is raised."""

from __future__ import annotations

import pytest

from onnxbuild.recipe.lock import parse_lock
from onnxbuild.recipe.problems import Problems

ENTRY = (
    '"verdict": "passed", "sources": {}, "output": {}, "opset": {}, "ir_version": 10, "hardware": "x", "versions": {}'
)


def lock(more: str) -> str:
    return f'{{"format": 1, "targets": {{"fp32": {{{ENTRY}{more}}}}}}}'


def test_what_has_the_form_is_read() -> None:
    problems = Problems()
    assert parse_lock(lock(', "bytes": 5'), "net.lock.json", problems)["fp32"].bytes == 5
    assert not problems.diagnostics


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(lock(', "measured": {"size": NaN}'), id="no JSON number"),
        pytest.param(lock(', "measured": {"size": "\\ud800"}'), id="half a surrogate"),
        pytest.param(lock(', "measured": {"size": 1e999}'), id="too large a number"),
        pytest.param(lock(f', "bytes": 1{"0" * 400}'), id="too many bytes"),
        pytest.param(lock(', "bytes": -1'), id="less than no bytes"),
        pytest.param(lock(f', "bytes": 1{"0" * 5000}'), id="more digits than Python reads"),
        pytest.param(lock(f', "choice": {"[" * 100_000}{"]" * 100_000}'), id="nested without end"),
    ],
)
def test_what_has_no_form_is_told(text: str) -> None:
    problems = Problems()
    assert parse_lock(text, "net.lock.json", problems) == {}
    assert [found.code for found in problems.diagnostics] == ["broken-lock"]
