from __future__ import annotations

import hashlib

import pytest

from onnxbuild.recipe import known
from tests.recipe.builder import SMALLEST, ProjectFiles

DIGEST = hashlib.sha256(b"x").hexdigest()
LOADER = "evaluation: {data: {loader: models/net.py:build}, metric: %s}\ntolerance: {metric: {%s}}"


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("opset: 6", "impossible-opset", 6, 8),
        ("opset: 27", "impossible-opset", 6, 8),
        ("ir_version: 3", "impossible-ir-version", 6, 13),
        ("ir_version: 14", "impossible-ir-version", 6, 13),
        ("ir_version: 2", "impossible-ir-version", 6, 13),
        ("opset: 10\nquantization: {mode: dynamic}", "impossible-opset", 6, 8),
        (
            "opset: 12\ncalibration: {data: {random: {}}}\nquantization: {mode: static, per_channel: true}",
            "impossible-opset", 6, 8,
        ),
        ("quantization: {mode: int4, format: qdq}", "impossible-opset", 6, 22),
        ("opset: 21\nir_version: 9\nquantization: {mode: int4}", "impossible-ir-version", 7, 13),
        ("quantization: {mode: static}", "calibration-missing", 6, 22),
        (
            "calibration: {data: {random: {}}}\nquantization: {mode: static, weights: uint8, activations: int8}",
            "impossible-types", 7, 59,
        ),
        ("passes:\n  - onnxoptimizer: [eliminate_identity, fuse_bn_in_conv]", "unknown-pass", 7, 41),
        ("passes:\n  - onnxoptimizer: []", "wrong-value", 7, 20),
        ("passes:\n  - onnxruntime: extended", "not-portable", 7, 18),
        ("passes:\n  - onnxruntime: all", "not-portable", 7, 18),
        ("passes:\n  - transformers: {model_type: brt}", "unknown-model-type", 7, 32),
        ("passes:\n  - transformers: {num_heads: 12}", "missing-key", 7, 5),
        ("passes:\n  - transformers: {model_type: bert, num_heads: 12}", "missing-key", 7, 38),
        ("passes:\n  - transformers: {model_type: bert, num_heads: 12, hidden_size: 100}", "wrong-value", 7, 66),
        ("tolerance: {outputs: {z: {atol: 1}}}", "unknown-output", 6, 23),
        ("tolerance: {outputs: {y: {share: 99%}}}", "missing-key", 6, 23),
        ("tolerance: {metric: {}}", "missing-key", 6, 13),
        ("providers: {cpu: {tolerance: {outputs: {z: {atol: 1}}}}}", "unknown-output", 6, 41),
        ("providers: {cpu: {}, CPUExecutionProvider: {}}", "duplicate-name", 6, 22),
        (
            "evaluation: {data: {loader: models/net.py:build}, metric: accuracy, output: z}",
            "unknown-output", 6, 77,
        ),
        ("evaluation: {data: {random: {}}, metric: accuracy}", "labels-missing", 6, 42),
        ("tolerance: {metric: {at_least: 0.9}}", "metric-missing", 6, 13),
        ("gates: {size: {at_most: 30% of fp32}}", "unknown-variant", 6, 25),
        ("gates: {size: {}}", "missing-key", 6, 9),
        ("gates: {speed: {at_least: 1.1x of fp32}}", "unknown-variant", 6, 27),
        ("gates: {speed: {batch: 4}}", "missing-key", 6, 9),
        ("gates: {speed: {at_least: 2x of fp32, batch: 65}}\nvariants: {fp32: {}, int8: {}}", "wrong-value", 6, 46),
        ("gates: {latency: {}}", "missing-key", 6, 9),
        ("gates: {latency: {p95: 5 ms, provider: cuda}}", "unknown-provider", 6, 40),
        ("gates: {latency: {p95: 5 ms, batch: 65}}", "wrong-value", 6, 37),
        ("gates: {memory: {}}", "missing-key", 6, 9),
        ("gates: {memory: {peak: 1 GB, provider: cuda}}", "unknown-provider", 6, 40),
        ("gates: {memory: {peak: 1 GB}}\nbenchmark: {memory: false}", "wrong-value", 7, 21),
        ("benchmark: {batch: [1, 65]}", "wrong-value", 6, 24),
        (LOADER % ("accuracy", "at_most: 0.9"), "wrong-direction", 7, 31),
        (LOADER % ("mae", "at_least: 1"), "wrong-direction", 7, 32),
        (LOADER % ("accuracy", "at_least: 1.5"), "limit-out-of-range", 7, 32),
        (LOADER % ("accuracy", "at_least: 97"), "limit-out-of-range", 7, 32),
        (LOADER % ("cosine", "at_least: -2"), "limit-out-of-range", 7, 32),
        (LOADER % ("r2", "at_least: 1.1"), "limit-out-of-range", 7, 32),
        (LOADER % ("rmse", "at_most: -1"), "limit-out-of-range", 7, 31),
        (LOADER % ("accuracy", "max_drop: -0.1"), "limit-out-of-range", 7, 32),
        (LOADER % ("accuracy", "max_drop: 2"), "limit-out-of-range", 7, 32),
        (LOADER % ("accuracy", "at_least: 0% of source"), "limit-out-of-range", 7, 32),
        (LOADER % ("accuracy", "at_least: 0.9, max_drop: 0.1"), "alternatives", 7, 37),
        (LOADER % ("{custom: models/net.py:build, higher_is_better: false}", "at_least: 3"), "wrong-direction", 7, 32),
        (LOADER % ("{higher_is_better: false}", "at_most: 3"), "missing-key", 6, 51),
    ],
)  # fmt: skip
def test_contradictions_are_located(project: ProjectFiles, text: str, code: str, line: int, column: int):
    project.recipe(SMALLEST + text)
    assert project.places() == [(code, line, column)]


@pytest.mark.parametrize(
    "text",
    [
        "opset: 7", "opset: 26", "ir_version: 13", "quantization: {mode: int4}",
        "opset: 13\nquantization: {mode: dynamic}",
        "passes:\n  - onnxruntime: all\npackage: {portable: false}",
        "passes:\n  - onnxoptimizer: default\n  - onnxscript: optimize\n  - onnxslim: default\n  - onnxruntime: basic",
        "passes:\n  - transformers: {model_type: bert, num_heads: 12, hidden_size: 384, expect: {Attention: 6}}",
        LOADER % ("accuracy", "at_least: 99% of source"), LOADER % ("mae", "at_most: 101% of source"),
        LOADER % ("mae", "max_drop: 5"), LOADER % ("r2", "at_least: -3"), LOADER % ("accuracy", "at_least: 97%"),
        LOADER % ("{custom: models/net.py:build, higher_is_better: false}", "at_most: 300"),
        "evaluation: {data: {random: {seed: 1, samples: 5}}}", "gates: {size: {at_most: 0.5x of default}}",
        "benchmark: {}", "benchmark: {batch: [1, 64], min_seconds: 0.1, memory: false}",
        "gates: {latency: {p50: 1 ms, p99: 5 ms, batch: 64}, memory: {peak: 1 GB, provider: CPUExecutionProvider}}",
        "gates: {speed: {at_least: 0.5x of default}}",
        "package: {metadata: {team: kiosk, version: 1.5, draft: true}, formats: [onnx]}",
    ],
)  # fmt: skip
def test_what_is_legal(project: ProjectFiles, text: str):
    project.recipe(SMALLEST + text)
    assert project.found() == []


def test_the_tables_are_those_of_the_installed_tools():
    onnxoptimizer = pytest.importorskip("onnxoptimizer")
    assert set(known.ONNXOPTIMIZER_PASSES) == set(onnxoptimizer.get_available_passes())
    optimizer = pytest.importorskip("onnxruntime.transformers.optimizer")
    assert set(known.TRANSFORMER_MODEL_TYPES) == set(optimizer.MODEL_TYPES)
    assert set(known.METRIC_RANGE) == set(known.HIGHER_IS_BETTER)


@pytest.mark.parametrize(
    ("source", "code", "word"),
    [
        ("{framework: tensorflow, factory: models/net.py:build}", "wrong-source", "factory"),
        ("{framework: onnx, path: m.onnx, weights: w.pt}", "wrong-source", "weights"),
        ("{framework: sklearn, factory: models/net.py:build, weights: w.pt}", "wrong-source", "weights"),
        ("{framework: torch, factory: models/net.py:build, weights: m.bin}", "wrong-extension", "m.bin"),
        ("{framework: keras, factory: models/net.py:build, weights: m.h5}", "wrong-extension", "m.h5"),
        ("{framework: torch, path: m.pt}", "wrong-extension", "m.pt"),
        ("{framework: onnx, path: m.pb}", "wrong-extension", "m.pb"),
        ("{framework: sklearn, path: m.onnx}", "wrong-extension", "m.onnx"),
        ("{framework: sklearn, path: m.pkl}", "untrusted-pickle", "m.pkl"),
        ("{framework: sklearn, path: m.joblib, trust: pickle}", "untrusted-pickle", "m.joblib"),
        ("{framework: torch, path: m.pt2}", "untrusted-pickle", "m.pt2"),
        (f"{{framework: torch, path: m.pt2, sha256: {DIGEST}}}", "untrusted-pickle", "m.pt2"),
        ("{framework: torch, path: w.pt2, factory: models/net.py:build}", "alternatives", "factory"),
        ("{framework: onnx, path: m.onnx, signature: s}", "wrong-source", "signature"),
        (f"{{framework: torch, factory: models/net.py:build, sha256: {DIGEST}}}", "wrong-source", "sha256"),
        ("{framework: pytorch, factory: models/net.py:build}", "wrong-value", "pytorch"),
    ],
)
def test_sources_that_cannot_be(project: ProjectFiles, source: str, code: str, word: str):
    for name in ("m.pt", "m.bin", "m.h5", "m.pb", "m.onnx", "m.pkl", "m.joblib", "m.pt2", "w.pt"):
        project.write(f"recipes/{name}", "x")
    project.recipe(SMALLEST.replace("{framework: torch, factory: models/net.py:build}", source))
    assert project.places() == [(code, 2, len("source: ") + source.index(word) + 1)]


@pytest.mark.parametrize(("source", "code"), [("{framework: torch}", "missing-key"), ("{path: m.onnx}", "missing-key")])
def test_sources_that_lack_something(project: ProjectFiles, source: str, code: str):
    project.recipe(SMALLEST.replace("{framework: torch, factory: models/net.py:build}", source))
    assert project.places() == [(code, 2, 1)]
