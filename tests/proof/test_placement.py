"""The placement gate: shares and counts at their edges, and what is not there."""

from __future__ import annotations

import pytest

from onnxbuild.proof.gates import Verdict, describe_miss
from onnxbuild.proof.placement import judge_placement
from onnxbuild.recipe.bounds import node_bound
from onnxbuild.recipe.types import Provider, Tolerance


def provider(name: str = "cuda", **more: object) -> Provider:
    return Provider(name=name, tolerance=Tolerance(), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limit", "got", "nodes", "verdict", "margin"),
    [
        ("95%", 95, 100, Verdict.PASSED, 0.0),
        ("95%", 94, 100, Verdict.FAILED, -0.01),
        ("100%", 7, 7, Verdict.PASSED, 0.0),
        ("33.3%", 1, 3, Verdict.PASSED, 1 / 3 - 0.333),
        (3, 3, 12, Verdict.PASSED, 0.0),
        (3, 2, 12, Verdict.FAILED, -1 / 12),
        (0, 0, 12, Verdict.PASSED, 0.0),
    ],
)
def test_shares_and_counts(limit: int | str, got: int, nodes: int, verdict: Verdict, margin: float):
    (gate,) = judge_placement(provider(min_nodes=node_bound(limit)), None, got, nodes)
    assert (gate.gate, gate.provider, gate.verdict, gate.measured) == ("placement", "cuda", verdict, got / nodes)
    assert gate.margin == pytest.approx(margin, abs=1e-12)


def test_one_node_is_the_default():
    (none,), (one,) = judge_placement(provider(), None, 0, 9), judge_placement(provider(), None, 1, 9)
    assert (none.verdict, none.limit, one.verdict) == (Verdict.FAILED, "at least 1 node", Verdict.PASSED)
    assert describe_miss(none) == (
        "placement on cuda: required at least 1 node, measured 0%, missed by 11.1%, 0 of 9 nodes run on it"
    )


def test_more_nodes_than_there_are_is_told():
    (gate,) = judge_placement(provider(min_nodes=node_bound(9)), None, 3, 3)
    assert (gate.verdict, gate.measured) == (Verdict.FAILED, 1.0)
    assert "3 of 3 nodes run on it, and there are no more once ONNX Runtime has simplified the model" in describe_miss(
        gate
    )


def test_what_is_not_there_is_unverified_and_failed_when_required():
    (gate,) = judge_placement(provider(), "no driver", 0, 0)
    assert (gate.verdict, gate.measured, gate.reason) == (Verdict.UNVERIFIED, None, "no driver")
    (required,) = judge_placement(provider(required=True), "no driver", 0, 0)
    assert (required.verdict, required.measured) == (Verdict.FAILED, None)
    assert "measured" not in describe_miss(required)
    assert "no driver" in describe_miss(required)


def test_a_model_without_nodes_proves_nothing():
    (gate,) = judge_placement(provider(), None, 0, 0)
    assert gate.verdict is Verdict.UNVERIFIED


def test_the_cpu_has_the_gate_only_where_the_recipe_says_so():
    assert judge_placement(provider("cpu"), None, 4, 4) == []
    assert len(judge_placement(provider("cpu", min_nodes=node_bound("100%")), None, 4, 4)) == 1
