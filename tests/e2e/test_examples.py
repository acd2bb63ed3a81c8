"""What each example delivers, read from the delivered files themselves: operators, types, zeros, names, manifests."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, numpy_helper

from tests.e2e.conftest import RECIPES, Examples
from tests.here import probe

pytestmark = [
    pytest.mark.torch,
    pytest.mark.tensorflow,
    pytest.mark.sklearn,
    pytest.mark.xdist_group("examples"),
]


def read_recipes() -> dict[str, dict[str, Any]]:
    return {file.stem: yaml.safe_load(file.read_text()) for file in sorted(RECIPES.glob("*.yaml"))}


def merge(base: Any, over: Any) -> Any:
    """Lay a variant over its recipe: mappings by key, null removes, everything else is replaced."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    merged = {key: merge(base.get(key), value) if key in base else value for key, value in over.items()}
    return {key: value for key, value in {**base, **merged}.items() if value is not None}


def read_targets() -> dict[str, dict[str, Any]]:
    """Return every target of every example with its merged recipe."""
    targets = {}
    for name, recipe in read_recipes().items():
        variants = recipe.pop("variants", {"default": {}})
        targets |= {f"{name}:{variant}": merge(recipe, changes) for variant, changes in variants.items()}
    return targets


TARGETS = read_targets()
ALL = pytest.mark.parametrize("target", TARGETS)
ABSENT = {p for recipe in TARGETS.values() for p in recipe.get("providers", ()) if not probe(p).present}
"""Providers of the examples that this machine has no device of: a target that asks for one is unverified."""


def expected_verdict(target: str) -> str:
    return "unverified" if ABSENT & set(TARGETS[target].get("providers", ())) else "passed"


def load(examples: Examples, target: str) -> onnx.ModelProto:
    return onnx.load(examples.folder(target) / "model.onnx")


def manifest_of(examples: Examples, target: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((examples.folder(target) / "manifest.json").read_text())
    return content


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in model.graph.node)


def weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in model.graph.node for name in node.output}


def kernels(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, np.ndarray]]:
    """Yield each Conv, Gemm or MatMul with its constant weight."""
    constants = weights(model)
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in constants:
            yield node, constants[node.input[1]]


def interface(values: Any) -> list[tuple[str, str, list[Any]]]:
    """Return names, dtypes in the recipe's words, and dims (None: neither named nor fixed) of graph values."""
    described = []
    for value in values:
        tensor = value.type.tensor_type
        code = tensor.elem_type
        dtype = "string" if code == TensorProto.STRING else onnx.helper.tensor_dtype_to_np_dtype(code).name
        dims = [dim.dim_param or (dim.dim_value if dim.HasField("dim_value") else None) for dim in tensor.shape.dim]
        described.append((value.name, dtype, dims))
    return described


def test_every_target_of_every_recipe_passed(examples: Examples) -> None:
    assert examples.first.code == 0, examples.first.err
    verdicts = {e["target"]: e["verdict"] for e in examples.first.events if e["event"] == "verdict"}
    assert verdicts == {target: expected_verdict(target) for target in TARGETS}
    assert len({target.partition(":")[0] for target in verdicts}) == 10


def test_second_make_does_nothing_and_says_so_in_one_line(examples: Examples) -> None:
    assert examples.second.code == 0
    unverified = [target for target in TARGETS if expected_verdict(target) == "unverified"]
    told = [e for e in examples.second.events if e["event"] not in ("gate", "verdict")]
    assert [e["event"] for e in told] == ["plan", "end"]
    assert told[1]["ran"] == told[1]["restored"] == 0
    assert {e["target"] for e in examples.second.events if e["event"] in ("gate", "verdict")} == set(unverified)
    assert examples.second.out.count("\n") == 1 + len(unverified)
    if not unverified:
        assert examples.second.out.startswith(f"Nothing to do: {len(TARGETS)} targets up to date")
    assert examples.second.err == ""


@ALL
def test_inputs_are_the_recipe_s(examples: Examples, target: str) -> None:
    recipe = TARGETS[target]
    wanted = [(name, i["dtype"], i["shape"]) for name, i in recipe["inputs"].items()]
    assert interface(load(examples, target).graph.input) == wanted


@ALL
def test_outputs_have_the_recipe_s_names(examples: Examples, target: str) -> None:
    outputs = interface(load(examples, target).graph.output)
    assert [name for name, _, _ in outputs] == list(TARGETS[target]["outputs"])
    for _, _, dims in outputs:
        assert dims[0] in ("batch", None)
        assert all(isinstance(dim, int) and dim > 0 for dim in dims[1:])


@ALL
def test_opset_and_ir_are_the_recipe_s(examples: Examples, target: str) -> None:
    recipe, model = TARGETS[target], load(examples, target)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    assert len(opsets) == len(model.opset_import)
    assert opsets[""] == recipe.get("opset", 20)
    assert set(opsets) - {""} == {node.domain for node in model.graph.node} - {""}
    assert model.ir_version == recipe.get("ir_version", 10)


@ALL
def test_file_is_valid_and_says_nothing_of_where_it_was_made(examples: Examples, target: str) -> None:
    file = examples.folder(target) / "model.onnx"
    onnx.checker.check_model(str(file))
    content = file.read_bytes()
    for secret in (str(examples.project.root), "/recipes/", "Traceback", 'File "', ".py"):
        assert secret.encode() not in content
    model = onnx.load(file)
    assert not model.doc_string
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)


@ALL
def test_manifest_describes_the_file(examples: Examples, target: str) -> None:
    manifest, model, recipe = manifest_of(examples, target), load(examples, target), TARGETS[target]
    assert manifest["name"] == target
    assert manifest["verdict"] == expected_verdict(target)
    for key, values in (("inputs", model.graph.input), ("outputs", model.graph.output)):
        assert [(v["name"], v["dtype"], v["shape"]) for v in manifest[key]] == interface(values)
    assert manifest["opset"] == {entry.domain: entry.version for entry in model.opset_import}
    assert manifest["ir_version"] == model.ir_version
    ranges = {axis: {"min": 1, "multiple_of": 1} | given for axis, given in recipe["dynamic_axes"].items()}
    assert manifest["dynamic_axes"] == ranges
    assert manifest["session"] == recipe.get("session", {})
    assert manifest["description"] == recipe["description"]
    assert manifest["source"]["framework"] == recipe["source"]["framework"]
    assert manifest["providers"] == list(recipe.get("providers", ["cpu"]))
    for provider, placed in manifest["placement"].items():
        assert placed["present"] is (provider not in ABSENT)
        assert placed["nodes"] == placed["of"], "all of it runs where it was asked to"


@ALL
def test_manifest_s_digests_are_those_of_the_files(examples: Examples, target: str) -> None:
    folder, manifest = examples.folder(target), manifest_of(examples, target)
    present = {file.name for file in folder.iterdir()} - {"manifest.json"}
    assert set(manifest["files"]) == present
    assert manifest["model"] in present
    for name, stated in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert stated == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    verdict = examples.first.event("verdict", target=target)
    assert verdict["sha256"] == manifest["files"]["model.onnx"]["sha256"]
    assert verdict["output"] == f"build/{target.replace(':', '/')}/model.onnx"


@ALL
def test_manifest_has_every_gate_with_what_was_measured(examples: Examples, target: str) -> None:
    recipe, manifest = TARGETS[target], manifest_of(examples, target)
    tolerance = recipe.get("tolerance", {})
    wanted = {f"tolerance.{name}.{m}" for name, o in tolerance.get("outputs", {}).items() for m in o}
    wanted -= {gate for gate in wanted if gate.endswith((".rtol", ".share"))}  # parts of atol's gate
    wanted |= {"tolerance.metric"} if "metric" in tolerance else set()
    wanted |= set(recipe.get("gates", {}))
    if not tolerance:
        wanted = {f"tolerance.{name}.atol" for name in recipe["outputs"]}
    gates = {gate["gate"]: gate for gate in manifest["gates"] if gate["provider"] in (None, "cpu")}
    assert set(gates) == wanted
    others = {(gate["provider"], gate["verdict"]) for gate in manifest["gates"]} - {(None, "passed"), ("cpu", "passed")}
    assert others == {(p, "unverified" if p in ABSENT else "passed") for p in manifest["providers"] if p != "cpu"}
    for gate in gates.values():
        assert gate["verdict"] == "passed"
        assert isinstance(gate["measured"], float)
        assert math.isfinite(gate["measured"])
        assert gate["limit"]


@pytest.mark.parametrize("target", [name for name, recipe in TARGETS.items() if "size" in recipe.get("gates", {})])
def test_size_gate_measured_the_delivered_bytes(examples: Examples, target: str) -> None:
    size = next(gate for gate in manifest_of(examples, target)["gates"] if gate["gate"] == "size")
    own = (examples.folder(target) / "model.onnx").stat().st_size
    words = TARGETS[target]["gates"]["size"]["at_most"].split(" of ")
    if len(words) == 1:
        assert size["measured"] == own
    else:
        other = f"{target.partition(':')[0]}:{words[1]}"
        ratio = own / (examples.folder(other) / "model.onnx").stat().st_size
        assert size["measured"] == pytest.approx(ratio)
        assert ratio <= float(words[0].rstrip("%")) / 100


@ALL
def test_manifest_names_the_versions_that_made_it(examples: Examples, target: str) -> None:
    from importlib.metadata import version

    manifest, framework = manifest_of(examples, target), TARGETS[target]["source"]["framework"]
    wanted = {"torch": "torch", "keras": "keras", "tensorflow": "tf2onnx", "tflite": "tf2onnx", "sklearn": "skl2onnx"}
    for package in ("onnx", "protobuf", wanted.get(framework, "onnx-ir")):
        assert manifest["versions"][package] == version(package)
    assert "onnxruntime" in manifest["versions"]


def test_manifest_names_the_files_that_the_model_came_from(examples: Examples) -> None:
    """Also the one that XGBoost opens where nobody sees it, because the recipe says so, and XGBoost itself."""
    manifest = manifest_of(examples, "cancer-trees:default")
    wanted = {"factory": "models/cancer_trees.py", "recipes/models/cancer_trees.json": "models/cancer_trees.json"}
    digests = {key: hashlib.sha256((RECIPES / file).read_bytes()).hexdigest() for key, file in wanted.items()}
    assert manifest["source"]["files"] == digests
    assert {"xgboost", "xgboost-cpu"} & set(manifest["versions"])
    assert "lightgbm" in manifest_of(examples, "diabetes-trees:default")["versions"]


# The CNN of torch: batch norms folded, float16 inside, integers with scales of their own for each channel


def test_batch_norms_are_folded_into_convolutions(examples: Examples) -> None:
    found = operators(load(examples, "digits-cnn:fp32"))
    assert found["Conv"] == 3
    assert not set(found) & {"BatchNormalization", "Mul", "Sqrt", "Div", "Identity", "Constant"}


@pytest.mark.parametrize("target", ["digits-cnn:fp16", "digits-keras:fp16"])
def test_float16_holds_half_tensors_between_float32_ends(examples: Examples, target: str) -> None:
    model = load(examples, target)
    stored = {tensor.data_type for tensor in model.graph.initializer}
    assert TensorProto.FLOAT16 in stored
    assert not stored & {TensorProto.FLOAT, TensorProto.DOUBLE}
    assert {dtype for _, dtype, _ in interface([*model.graph.input, *model.graph.output])} == {"float32"}
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    assert [onnx.helper.get_node_attr_value(node, "to") for node in casts] == [TensorProto.FLOAT16, TensorProto.FLOAT]
    assert casts[0].input[0] == model.graph.input[0].name
    assert casts[1].output[0] == model.graph.output[0].name


def test_static_qdq_computes_on_integers(examples: Examples) -> None:
    model = load(examples, "digits-cnn:int8")
    made, stored = makers(model), weights(model)
    compute = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(compute) == 4
    for node in compute:
        activation, weight = made[node.input[0]], made[node.input[1]]
        assert activation.op_type == weight.op_type == "DequantizeLinear"
        assert stored[activation.input[2]].dtype == np.uint8
        values, scales = stored[weight.input[0]], stored[weight.input[1]]
        assert values.dtype == np.uint8
        assert len(np.unique(values)) > 16
        assert scales.shape == (values.shape[0],)
        assert stored[made[node.input[2]].input[0]].dtype == np.int32
    assert not [name for name, array in stored.items() if array.dtype == np.float32 and array.ndim > 1]
    assert operators(model)["QuantizeLinear"] >= 4


# Keras: operators on integers, the softmax left in float


def test_qoperator_holds_integer_operators(examples: Examples) -> None:
    model = load(examples, "digits-keras:qoperator")
    found, stored, made = operators(model), weights(model), makers(model)
    assert found["QLinearConv"] == 4
    assert found["com.microsoft.QGemm"] == 1
    assert not {"Conv", "Gemm", "MatMul"} & set(found)
    for node in model.graph.node:
        if node.op_type == "QLinearConv":
            assert stored[node.input[3]].dtype == np.uint8
    softmax = made["scores"]
    assert softmax.op_type == "Softmax"
    assert made[softmax.input[0]].op_type in ("DequantizeLinear", "QGemm")


def test_portable_optimisation_of_onnxruntime_writes_no_operator_of_its_own(examples: Examples) -> None:
    model = load(examples, "digits-keras:fp32")
    assert operators(model)["Gemm"] == 1
    assert {node.domain for node in model.graph.node} == {""}


# The old ONNX file: Constant nodes gone, four bits


def test_old_file_is_brought_up_to_date(examples: Examples) -> None:
    found = operators(load(examples, "digits-2019:fp32"))
    assert found == {"Gemm": 3, "Relu": 2, "Softmax": 1}


def test_int4_packs_two_weights_in_a_byte(examples: Examples) -> None:
    model = load(examples, "digits-2019:int4")
    found, stored = operators(model), weights(model)
    assert found["com.microsoft.MatMulNBits"] == 3
    assert not found["MatMul"]
    assert not found["Gemm"]
    for node in model.graph.node:
        if node.op_type != "MatMulNBits":
            continue
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        rows, columns = given["K"], given["N"]
        assert (given["bits"], given["block_size"]) == (4, 32)
        packed = stored[node.input[1]]
        assert packed.dtype == np.uint8
        assert packed.shape == (columns, math.ceil(rows / 32), 16)
        assert stored[node.input[2]].size == columns * math.ceil(rows / 32)
        assert not any(node.input[3:])  # symmetric: no zero points


# The SavedModel: zeros where pruning promised them


def test_magnitude_pruning_leaves_half_of_each_layer_at_zero(examples: Examples) -> None:
    dense = {node.name: weight for node, weight in kernels(load(examples, "digits-savedmodel:dense"))}
    half = {node.name: weight for node, weight in kernels(load(examples, "digits-savedmodel:half"))}
    assert set(half) == set(dense)
    assert len(half) == 3
    for name, weight in half.items():
        assert np.count_nonzero(dense[name] == 0) < 0.1 * weight.size
        assert np.count_nonzero(weight == 0) == weight.size // 2
        kept = weight != 0
        assert np.array_equal(weight[kept], dense[name][kept])
        assert np.abs(dense[name][~kept]).max() <= np.abs(dense[name][kept]).min()


def test_two_of_four_holds_in_every_group_along_the_sum(examples: Examples) -> None:
    layers = list(kernels(load(examples, "digits-savedmodel:two-of-four")))
    assert len(layers) == 3
    for _, weight in layers:
        assert weight.shape[0] % 4 == 0
        zeros = (weight.reshape(-1, 4, weight.shape[1]) == 0).sum(axis=1)
        assert zeros.min() >= 2
        assert (weight == 0).mean() < 0.6


# tflite: small weights gone, where most of a layer is small


def test_threshold_pruning_spares_the_layer_with_few_small_weights(examples: Examples) -> None:
    full = {node.name: weight for node, weight in kernels(load(examples, "digits-tflite:full"))}
    pruned = {node.name: weight for node, weight in kernels(load(examples, "digits-tflite:pruned"))}
    assert set(pruned) == set(full)
    touched = {name for name, weight in pruned.items() if not np.array_equal(weight, full[name])}
    assert len(touched) == 2
    for name, before in full.items():
        small = np.abs(before) < 0.005
        assert (name in touched) == (small.mean() > 0.5)
        assert np.array_equal(pruned[name], np.where(small, 0, before) if name in touched else before)


# The transformer: fused by name, portable, on integers


def test_transformer_s_fusions_are_in_the_file(examples: Examples) -> None:
    found = operators(load(examples, "digits-transformer:fused"))
    assert {name: found[f"com.microsoft.{name}"] for name in ("Attention", "SkipLayerNormalization", "BiasGelu")} == {
        "Attention": 2,
        "SkipLayerNormalization": 4,
        "BiasGelu": 2,
    }
    assert not found["Softmax"]


def test_portable_transformer_has_only_standard_operators(examples: Examples) -> None:
    model = load(examples, "digits-transformer:portable")
    assert [entry.domain for entry in model.opset_import] == [""]
    assert operators(model)["Softmax"] == 2


def test_dynamic_quantisation_multiplies_integers(examples: Examples) -> None:
    model = load(examples, "digits-transformer:int8")
    found, stored, made = operators(model), weights(model), makers(model)
    multiplied = [node for node in model.graph.node if node.op_type == "MatMulInteger"]
    constant = {node.name for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in stored}
    assert len(multiplied) == 14
    assert not constant
    assert found["DynamicQuantizeLinear"] > 0
    for node in multiplied:
        assert made[node.input[0]].op_type == "DynamicQuantizeLinear"
        assert stored[node.input[1]].dtype == np.uint8


# Trees and the pipeline


def test_trees_are_one_ensemble(examples: Examples) -> None:
    assert operators(load(examples, "cancer-trees:default"))["ai.onnx.ml.TreeEnsembleClassifier"] == 1
    assert operators(load(examples, "diabetes-trees:default"))["ai.onnx.ml.TreeEnsembleRegressor"] == 1


def test_pipeline_takes_words_numbers_and_gaps(examples: Examples) -> None:
    model = load(examples, "wine-pipeline:default")
    found = operators(model)
    assert found["ai.onnx.ml.OneHotEncoder"] == 2
    assert found["ai.onnx.ml.Imputer"] == 1
    assert Counter(dtype for _, dtype, _ in interface(model.graph.input)) == {"string": 2, "int64": 2, "float32": 3}


# Reports


def test_every_recipe_has_a_page_and_a_twin(examples: Examples) -> None:
    reports = examples.project.root / "reports"
    for name in ["index", *read_recipes()]:
        assert (reports / f"{name}.html").read_text().rstrip().endswith("</html>")
        assert json.loads((reports / f"{name}.json").read_text())


def test_nothing_is_left_over(examples: Examples) -> None:
    root: Path = examples.project.root
    assert {path.name for path in root.iterdir()} == {"recipes", "build", "reports", ".onnxbuild", "events.jsonl"}
    assert not list((root / ".onnxbuild/scratch").iterdir())
    assert not list((root / ".onnxbuild/tmp").iterdir())
    assert not [path for path in root.rglob("__pycache__") if ".onnxbuild" not in path.parts]


def test_naive_int8_misses_its_tolerance_and_is_repaired(examples: Examples) -> None:
    page = json.loads((examples.project.root / "reports/digits-mobile.json").read_text())
    target = next(target for target in page["targets"] if target["name"] == "digits-mobile:int8")
    steps = {step["label"]: step for step in target["steps"]}
    decibels = {
        label: step["accuracy"][0]["facts"]["outputs"][0]["sqnr_db"]
        for label, step in steps.items()
        if step["accuracy"]
    }
    assert decibels["quantize"] < 35 <= decibels["repair"]
    assert steps["repair"]["repair"]["choice"] == {"keep": ["Concat", "head/Gemm"]}
    kept = [node for node, _ in kernels(load(examples, "digits-mobile:int8"))]
    assert [node.name for node in kept] == ["head/Gemm"], "its weights alone are float"


def test_the_committed_lock_holds_on_any_machine(examples: Examples) -> None:
    """Trees are converted without arithmetic: the bytes are the same on every class of machine."""
    done = examples.project.make("--locked", "--strict", "cancer-trees")
    assert done.code == 0, done.out + done.err
    lock = examples.project.root / "recipes/cancer-trees.lock.json"
    text = lock.read_text()
    try:
        lock.write_text(text.replace('"nodes": 1,', '"nodes": 2,').replace('"ir_version": 10', '"ir_version": 9'))
        changed = examples.project.make("--locked", "cancer-trees")
        assert changed.code == 1
        assert not changed.event("lock", target="cancer-trees:default")["agrees"]
    finally:
        lock.write_text(text)
