"""The catalogue of the format: every key of it is accepted by the schema, and what this version lacks is named."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onnxbuild.recipe.node import find, plain
from onnxbuild.recipe.problems import Problems
from onnxbuild.recipe.types import Benchmark
from onnxbuild.recipe.yaml import parse_yaml
from tests.recipe.builder import ProjectFiles

CATALOGUE = """\
# yaml-language-server: $schema=../schemas/recipe.schema.json
format: 1
name: digits-cnn
description: Handwritten digits for the kiosk.
source:
  framework: torch
  factory: models/net.py:build
  args: {channels: 16}
  weights: models/digits_cnn.safetensors
  reads: [models/*.py]
  env: [MODEL_REV]
inputs:
  image: {dtype: float32, shape: [batch, 1, 8, 8], range: [0, 1]}
outputs: [logits]
dynamic_axes:
  batch: {min: 1, max: 256}
opset: 20
ir_version: 10
passes:
  - onnxscript: optimize
  - onnxoptimizer: [eliminate_identity, fuse_bn_into_conv]
  - onnxslim: default
  - onnxruntime: basic
  - transformers: {model_type: bert, num_heads: 12, hidden_size: 384, expect: {Attention: 6}}
  - custom: {function: models/net.py:build, args: {}}
pruning: {method: magnitude, sparsity: 0.5, scope: layer}
calibration: {data: {loader: models/net.py:build}, samples: 256}
evaluation:  {data: {loader: models/net.py:build}, metric: accuracy}
quantization:
  mode: static
  weights: int8
  activations: uint8
  format: qdq
  per_channel: true
  calibrate: minmax
  op_types: [Conv, MatMul]
  exclude: [fc2, "*/attn/*"]
  keep_io: true
  repair: true
  auto: {candidates: [static, dynamic, float16], objective: latency, provider: cpu}
tolerance:
  outputs:
    logits: {atol: 1.0e-4, rtol: 1.0e-3}
  metric: {at_least: 99% of source}
providers:
  cpu: {}
  openvino: {min_nodes: 95%, options: {}, tolerance: {outputs: {logits: {atol: 2.0e-3}}}}
  cuda: {required: false}
session: {graph_optimization: all, intra_op_threads: 1, memory_pattern: true, cpu_arena: true}
benchmark: {batch: [1], min_seconds: 0.5, memory: true}
gates:
  size: {at_most: 30% of fp32}
  speed: {at_least: 1.1x of fp32, provider: cpu, batch: 1}
  latency: {p95: 5 ms, provider: cpu}
  memory: {peak: 200 MB}
package: {metadata: {team: kiosk, licence: MIT}, formats: [onnx], portable: true}
guard: revert
strict_reads: false
variants:
  fp32: {quantization: null, pruning: null}
  int8: {tolerance: {outputs: null}, providers: {openvino: {tolerance: null}}}
"""


def test_the_catalogue_is_two_targets(project: ProjectFiles):
    project.write("recipes/models/digits_cnn.safetensors", b"x")
    project.recipe(CATALOGUE)
    assert project.found() == []
    fp32, int8 = project.target("fp32"), project.target("int8")
    assert (fp32.name, fp32.quantization, fp32.pruning) == ("digits-cnn:fp32", None, None)
    assert set(fp32.tolerance.outputs) == {"logits"}
    assert int8.quantization is not None
    assert int8.quantization.exclude == ("fc2", "*/attn/*")
    assert int8.tolerance.outputs == {}
    assert int8.tolerance.metric is not None
    assert len(int8.passes) == 6
    assert int8.benchmark == Benchmark(batch=(1,), min_seconds=0.5, memory=True)
    assert int8.speed is not None
    assert (int8.speed.bound.value, int8.speed.bound.of, int8.speed.provider) == (1.1, "fp32", "cpu")
    assert fp32.speed is None
    assert [(g.percentile, g.bound.value, g.batch) for g in int8.latency] == [("p95", 5.0, 1)]
    assert int8.memory is not None
    assert (int8.memory.bound.value, int8.memory.bound.text) == (200_000_000, "at most 200 MB")


@given(
    st.integers(0, len(CATALOGUE) - 1),
    st.sampled_from(["", "\t", ":", "{", "]", "'", "-", "  ", "x", "\n", "&a ", "*a"]),
)
def test_no_edit_of_one_place_is_our_bug(position: int, text: str):
    from onnxbuild.recipe.examine import examine
    from onnxbuild.recipe.raw import RawRecipe
    from onnxbuild.recipe.refuse import refuse_keys

    problems = Problems()
    node = parse_yaml(CATALOGUE[:position] + text + CATALOGUE[position + 1 :], "a.yaml", problems)
    if node is not None and isinstance(node.value, dict):
        root = examine(node, RawRecipe, problems).root
        refuse_keys(root, problems)
        assert isinstance(plain(root), dict)
        assert find(root, ("nowhere",)) is None
