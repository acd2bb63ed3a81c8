"""What a gate that a provider alone misses says of how it computes: nothing that the recipe's own options settle."""

from __future__ import annotations

import pytest

from onnxbuild.recipe.types import Provider, Tolerance
from onnxbuild.targets.judge import _provider_suspected


@pytest.mark.parametrize(
    ("name", "options", "is_told"),
    [
        ("cuda", {}, True),
        ("cuda", {"device_id": "1"}, True),
        ("cuda", {"use_tf32": "0"}, False),
        ("qnn", {"enable_htp_fp16_precision": "0"}, False),
        ("xnnpack", {}, False),
    ],
)
def test_how_it_rounds_is_told_unless_the_recipe_says_how(name: str, options: dict[str, str], is_told: bool) -> None:
    said = _provider_suspected(Provider(name=name, tolerance=Tolerance(), options=options))
    assert said.startswith(f", which meets it on the cpu, so {name} computes otherwise")
    assert ("does not" in said) is is_told
