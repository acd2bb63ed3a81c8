"""Tools and their parts: with none a tool does nothing, with all it does what it does by itself."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from onnxbuild.recipe.types import (
    CustomPass,
    Function,
    OnnxoptimizerPass,
    OnnxruntimePass,
    OnnxscriptPass,
    OnnxslimPass,
    Pass,
    TransformersPass,
)
from onnxbuild.stages import tools
from tests.stages.models import artifact, cnn, gelu_block, operators

STEPS: list[tuple[Pass, onnx.ModelProto, str]] = [
    (OnnxscriptPass(), cnn(), "rewrite FuseBatchNormIntoConv"),
    (OnnxoptimizerPass(), cnn(), "fuse_bn_into_conv"),
    (OnnxslimPass(), cnn(), "FusionConvBN"),
    (OnnxruntimePass("basic"), cnn(), "ConvBNFusion"),
    (OnnxruntimePass("extended"), cnn(), "ConvBNFusion ConvActivationFusion"),
    (TransformersPass(model_type="bert", num_heads=2, hidden_size=8), gelu_block(), "gelu"),
]


@pytest.mark.parametrize(("step", "proto", "part"), STEPS, ids=lambda value: getattr(value, "tag", None))
def test_no_part_does_nothing_all_do_it_all_and_one_does_its_own(
    tmp_path: Path, step: Pass, proto: onnx.ModelProto, part: str
) -> None:
    source = artifact(tmp_path / "model", proto)

    def made(name: str, only: tuple[str, ...] | None) -> list[str]:
        (tmp_path / name).mkdir()
        return sorted(operators(tools.apply(step, source, only, tmp_path / name, None)))

    parts = tools.parts_of(step)
    chosen = (part,) if part in parts else tuple(part.split())
    assert len(parts) == len(set(parts)) > 3
    before, after = sorted(n.op_type for n in proto.graph.node), made("whole", None)
    assert made("none", ()) == before != after
    assert made("all", parts) == after
    one = made("one", chosen)
    assert before != one != after
    assert made("others", tuple(p for p in parts if p != chosen[-1])) != after


def test_a_custom_pass_has_no_parts() -> None:
    assert tools.parts_of(CustomPass(function=Function("a.py", "run"))) == ()
