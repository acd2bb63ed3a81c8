"""One source of truth: the files in schemas/, the keys and the types, and msgspec against jsonschema."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from onnxbuild.recipe.examine import FREE, NAMED, _validator
from onnxbuild.recipe.raw import RawRecipe
from onnxbuild.recipe.refuse import KEYS
from onnxbuild.recipe.schema import FILES, schema_of, schema_text
from tests.recipe.builder import ProjectFiles

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", FILES)
def test_the_committed_schema_is_current(name: str):
    text = schema_text(FILES[name])
    Draft202012Validator.check_schema(json.loads(text))
    assert (ROOT / "schemas" / name).read_text() == text, "run `onnxbuild schema` into schemas/"


# Every key of the format with two legal values (the second changes a target), or REFUSED, or READ_ELSEWHERE.
BASE: dict[str, Any] = {
    "format": 1,
    "source": {"framework": "torch", "factory": "models/net.py:build"},
    "inputs": {"x": {"dtype": "float32", "shape": ["batch", 10]}},
    "outputs": ["y"],
    "dynamic_axes": {"batch": {"max": 64}},
}
DATA = {"loader": "models/net.py:build"}
STATIC = {"calibration.data": DATA, "quantization.mode": "static"}
METRIC = {"evaluation.data": DATA, "evaluation.metric": "accuracy"}
MAGNITUDE = {"pruning.method": "magnitude", "pruning.sparsity": 0.5}
THRESHOLD = {"pruning.method": "threshold", "pruning.threshold": 0.5}
FP32: dict[str, Any] = {"variants.int8": {}, "variants.fp32": {}}
CUDA: dict[str, Any] = {"providers.cpu": {}, "providers.cuda": {}}
BERT: dict[str, Any] = {"model_type": "bert", "num_heads": 2, "hidden_size": 8}
TRANSFORMERS = [{"transformers": BERT}]

REACHES: dict[str, tuple[Any, dict[str, Any]]] = {
    "name": ("other", {}),
    "description": ("text", {}),
    "source.framework": ("keras", {}),
    "source.factory": ("models/net.py:other", {}),
    "source.args": ({"a": 1}, {}),
    "source.weights": ("w.pt", {}),
    "source.path": ("m.onnx", {"source": {"framework": "onnx", "path": "other.onnx"}}),
    "source.signature": ("other", {"source": {"framework": "tensorflow", "path": "saved"}}),
    "source.sha256": ("0" * 63 + "a", {"source.weights": "w.pt"}),
    "source.trust": ("pickle", {}),
    "source.reads": (["*.json"], {}),
    "source.env": (["HOME"], {}),
    "inputs.*.dtype": ("float64", {}),
    "inputs.*.shape": (["batch", 11], {}),
    "inputs.*.range": ([0, 1], {}),
    "outputs": (["z"], {}),
    "dynamic_axes.*.min": (2, {}),
    "dynamic_axes.*.max": (65, {}),
    "dynamic_axes.*.multiple_of": (2, {}),
    "opset": (21, {}),
    "ir_version": (9, {}),
    "passes.onnxscript": ([{"onnxscript": "optimize"}], {}),
    "passes.onnxoptimizer": ([{"onnxoptimizer": ["nop"]}], {"passes": [{"onnxoptimizer": "default"}]}),
    "passes.onnxslim": ([{"onnxslim": "default"}], {}),
    "passes.onnxruntime": ([{"onnxruntime": "basic"}], {}),
    "passes.transformers.model_type": ([{"transformers": BERT | {"model_type": "vit"}}], {"passes": TRANSFORMERS}),
    "passes.transformers.num_heads": ([{"transformers": BERT | {"num_heads": 4}}], {"passes": TRANSFORMERS}),
    "passes.transformers.hidden_size": ([{"transformers": BERT | {"hidden_size": 4}}], {"passes": TRANSFORMERS}),
    "passes.transformers.expect": ([{"transformers": BERT | {"expect": {"Gelu": 6}}}], {"passes": TRANSFORMERS}),
    "passes.custom.function": ([{"custom": {"function": "models/net.py:build"}}], {}),
    "passes.custom.args": (
        [{"custom": {"function": "models/net.py:build", "args": {"a": 1}}}],
        {"passes": [{"custom": {"function": "models/net.py:build"}}]},
    ),
    "pruning.method": ("2:4", MAGNITUDE),
    "pruning.sparsity": (0.6, MAGNITUDE),
    "pruning.threshold": (0.6, THRESHOLD),
    "pruning.min_sparsity": (0.6, THRESHOLD),
    "pruning.scope": ("global", MAGNITUDE),
    "pruning.include": (["a"], MAGNITUDE),
    "pruning.exclude": (["a"], MAGNITUDE),
    "calibration.data": ("d.npz", STATIC),
    "calibration.data.loader": ("models/net.py:other", STATIC),
    "calibration.data.args": ({"a": 1}, STATIC),
    "calibration.data.random.seed": (1, {"calibration": {"data": {"random": {}}}}),
    "calibration.data.random.samples": (9, {"calibration": {"data": {"random": {}}}}),
    "calibration.samples": (9, STATIC),
    "evaluation.data": ("d.npz", METRIC),
    "evaluation.data.loader": ("models/net.py:other", METRIC),
    "evaluation.data.args": ({"a": 1}, METRIC),
    "evaluation.data.random.seed": (1, {"evaluation": {"data": {"random": {}}}}),
    "evaluation.data.random.samples": (9, {"evaluation": {"data": {"random": {}}}}),
    "evaluation.metric": ("f1", METRIC),
    "evaluation.metric.custom": ("models/net.py:build", METRIC),
    "evaluation.metric.higher_is_better": (
        False, {"evaluation.data": DATA, "evaluation.metric": {"custom": "models/net.py:build"}},
    ),
    "evaluation.samples": (9, METRIC),
    "evaluation.output": ("y", METRIC),
    "evaluation.axis": (1, METRIC),
    "evaluation.average": ("macro", METRIC | {"evaluation.metric": "f1"}),
    "evaluation.labels": ("target", METRIC),
    "evaluation.k": (3, METRIC | {"evaluation.metric": "top_k"}),
    "quantization.mode": ("dynamic", STATIC),
    "quantization.weights": ("uint8", STATIC),
    "quantization.activations": ("int8", STATIC),
    "quantization.format": ("qoperator", STATIC),
    "quantization.per_channel": (True, STATIC),
    "quantization.calibrate": ("entropy", STATIC),
    "quantization.op_types": (["Conv"], STATIC),
    "quantization.exclude": (["a"], STATIC),
    "quantization.repair": (True, STATIC),
    "quantization.auto.candidates": (["dynamic"], {"quantization.mode": "auto"}),
    "quantization.auto.objective": ("size", {"quantization.mode": "auto"}),
    "quantization.auto.provider": (
        "openvino",
        {
            "quantization.mode": "auto",
            "quantization.auto.candidates": ["dynamic"],
            "providers": {"cpu": {"required": True}, "openvino": {"required": True}},
        },
    ),
    "quantization.keep_io": (False, {"quantization.mode": "float16"}),
    "quantization.block_size": (64, {"quantization.mode": "int4"}),
    "quantization.symmetric": (False, {"quantization.mode": "int4"}),
    **{
        f"{prefix}.outputs.*.{measure}": (0.5, {f"{prefix}.outputs.y.{other}": 0.25})
        for prefix in ("tolerance", "providers.openvino.tolerance")
        for measure, other in (
            ("atol", "rtol"), ("rtol", "atol"), ("max_abs", "atol"), ("mean_abs", "atol"), ("cosine", "atol"),
            ("sqnr_db", "atol"), ("argmax_agreement", "atol"), ("share", "atol"),
        )
    },
    **{
        f"{prefix}.metric.{kind}": (0.5, METRIC | {"evaluation.metric": metric})
        for prefix in ("tolerance", "providers.openvino.tolerance")
        for kind, metric in (("at_least", "accuracy"), ("at_most", "mae"), ("max_drop", "mae"))
    },
    "providers.openvino.min_nodes": ("95%", {}),
    "providers.openvino.options": ({"load_config": {"CPU": {"INFERENCE_PRECISION_HINT": "f32"}}}, {}),
    "providers.openvino.required": (True, {}),
    "session.graph_optimization": ("basic", {}),
    "session.intra_op_threads": (1, {}),
    "session.memory_pattern": (False, {}),
    "session.cpu_arena": (False, {}),
    "session.auto": ("latency", {}),
    "benchmark.batch": ([2], {}),
    "benchmark.min_seconds": (0.1, {}),
    "benchmark.memory": (False, {}),
    "gates.size.at_most": ("2 MB", {}),
    "gates.speed.at_least": ("1.1x of fp32", FP32),
    "gates.speed.provider": ("cuda", FP32 | {"gates.speed.at_least": "2x of fp32"} | CUDA),
    "gates.latency.provider": ("cuda", {"gates.latency.p95": "5 ms"} | CUDA),
    "gates.memory.provider": ("cuda", {"gates.memory.peak": "1 GB"} | CUDA),
    "gates.speed.batch": (2, FP32 | {"gates.speed.at_least": "2x of fp32"}),
    **{f"gates.latency.{percentile}": ("5 ms", {}) for percentile in ("p50", "p90", "p95", "p99")},
    "gates.latency.batch": (2, {"gates.latency.p95": "5 ms"}),
    "gates.memory.peak": ("1 GB", {}),
    "package.metadata": ({"a": "b"}, {}),
    "package.portable": (False, {}),
    "package.formats": (["onnx", "ort"], {}),
    "guard": ("strict", {}),
    "strict_reads": (True, {}),
}  # fmt: skip
WITHOUT_FIELD = {
    "format": "only version 1 exists",
}


def _keys(schema: dict[str, Any], definitions: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the dotted path of every key in a schema; `*` stands for a name, lists are passed through."""
    if "$ref" in schema:
        yield from _keys(definitions[schema["$ref"].rpartition("/")[2]], definitions, path)
    for branch in schema.get("anyOf", []):
        yield from _keys(branch, definitions, path)
    if "items" in schema:
        yield from _keys(schema["items"], definitions, path)
    for key, inner in schema.get("properties", {}).items():
        below = f"{path}.{key}".lstrip(".")
        yield below
        if below != "variants":
            yield from _keys(inner, definitions, below)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict) and path.rpartition(".")[2] not in FREE:
        yield from _keys(extra, definitions, f"{path}.{'openvino' if path == 'providers' else '*'}")


def _leaves() -> set[str]:
    schema = schema_of(RawRecipe)
    keys = set(_keys(schema, schema["$defs"]))
    parents = {key.rpartition(".")[0] for key in keys} | {"variants"}
    parents |= {parent.removesuffix(".*") for parent in parents} | {p.rpartition(".")[0] for p in parents}
    return {key for key in keys if key not in parents} | {"calibration.data", "evaluation.data"}


def _is_refused(key: str) -> bool:
    path = tuple(key.split("."))
    return any(path[: len(refused)] == refused for refused in KEYS)


def test_every_key_reaches_a_target_or_is_refused():
    accounted = set(REACHES) | set(WITHOUT_FIELD)
    leaves = {key for key in _leaves() if not _is_refused(key)}
    assert leaves - accounted == set(), "keys of the schema that reach no field of types.py"
    nested = {"evaluation.metric", "calibration.data", "evaluation.data", "outputs"}
    assert accounted - leaves - nested == set(), "keys that are tested and not in the schema"


def _with(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(document)
    *steps, last = path.replace("inputs.*", "inputs.x").replace("axes.*", "axes.batch").replace("*", "y").split(".")
    here = document
    for step in steps:
        if not isinstance(here.get(step), dict):
            here[step] = {}
        here = here[step]
    here[last] = value
    return document


@pytest.mark.parametrize("key", REACHES)
def test_the_key_reaches_a_target(project: ProjectFiles, key: str):
    value, context = REACHES[key]
    project.write("recipes/models/net.py", "from x import *\n")
    document = BASE
    for path, given_value in context.items():
        document = _with(document, path, given_value)
    key = "passes" if key.startswith("passes.") else key
    changed = _with(document, key, value)
    if key.endswith(("at_most", "max_drop", "at_least")) and "metric" in key:
        document = _with(document, key, 0.25)
    before, after = (_target(project, d) for d in (document, changed))
    assert before != after


def _target(project: ProjectFiles, document: dict[str, Any]) -> Any:
    from onnxbuild.recipe.load import load_recipes
    from onnxbuild.recipe.project import load_project

    project.recipe(yaml.safe_dump(document, sort_keys=False))
    loaded = load_recipes(load_project(project.root), files=False)
    assert not loaded.diagnostics
    return msgspec.structs.replace(loaded.targets[0], places={})


def test_keys_that_hold_names_are_those_of_the_schema():
    schema = schema_of(RawRecipe)

    def named(part: Any, key: str = "") -> Iterator[str]:
        if isinstance(part, dict):
            if isinstance(part.get("additionalProperties"), dict):
                yield key
            for name, inner in part.items():
                if name in ("properties", "$defs"):
                    for sub, value in inner.items():
                        yield from named(value, sub)
                elif name != "patternProperties":
                    yield from named(inner, key)
        elif isinstance(part, list):
            for inner in part:
                yield from named(inner, key)

    free = {"args", "options"}  # `dict[str, Any]`: no schema below
    assert set(named(schema)) | free == NAMED | FREE


def _mutations() -> st.SearchStrategy[Any]:
    scalars = st.sampled_from(
        [None, True, 0, 1, -1, 17.0, 0.5, 1.0, "", "x", "99%", "2 MB", "default", "static", "a.py:b"]
    )
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["cpu", "y", "x-y", "data"]), inner, max_size=2)
        ),
        max_leaves=4,
    )


@settings(max_examples=400)
@given(st.sampled_from(sorted(_leaves() | {"quantization", "providers", "inputs", "passes", "variants"})), _mutations())
def test_the_fast_verdict_is_that_of_the_schema(key: str, value: Any):
    document = _with(BASE, key, value)
    try:
        msgspec.convert(document, RawRecipe)
        fast = True
    except msgspec.ValidationError:
        fast = False
    slow = _validator(RawRecipe).is_valid(document)
    extension = "x-y" in json.dumps(value)  # taken out before either looks
    passes = key.startswith("passes")  # one key a pass is said by `build`, in words of its own
    assert fast == slow or extension or passes
