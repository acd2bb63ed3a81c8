"""Patterns: names, scopes and shell patterns, and the failure when one matches nothing."""

from __future__ import annotations

import pytest

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.patterns import is_any_match, is_match, require_matches


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("fc2", "fc2", True),
        ("fc2", "fc2/MatMul", True),
        ("fc2", "fc2.weight", True),
        ("fc2", "fc20/MatMul", False),
        ("fc2", "block/fc2/MatMul", False),
        ("*/attn/*", "layers/0/attn/q/MatMul", True),
        ("*/attn", "layers/0/attn/q/MatMul", True),
        ("layers.0", "layers.0.attn", True),
        ("fc?", "fc1/Gemm", True),
        ("a[0]", "a[0]/Gemm", True),
        ("FC2", "fc2", False),
    ],
)
def test_a_pattern_means_a_name_a_scope_or_what_the_shell_would(pattern: str, name: str, expected: bool) -> None:
    assert is_match(pattern, name) is expected


def test_any_of_many() -> None:
    assert is_any_match(["a", "b*"], ["x", "bc"])
    assert not is_any_match(["a"], ["x", "ab"])
    assert not is_any_match([], ["x"])


def test_the_suggestion_may_be_a_scope() -> None:
    with pytest.raises(StageFailure, match="'encodr' matches none of the nodes") as caught:
        require_matches(["encoder", "encodr"], ["encoder/fc/MatMul", "head/MatMul"], "nodes")
    assert caught.value.hint == "did you mean 'encoder'?"


def test_without_a_near_name_some_are_listed() -> None:
    with pytest.raises(StageFailure) as caught:
        require_matches(["zzz"], ["a", "b"], "nodes")
    assert caught.value.hint == "there are for example 'a', 'b'"
