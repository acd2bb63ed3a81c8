"""Every field of an action, of each stage's parameters and of a target is in a key, or exempt with a reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from onnxbuild.plan.action import NOT_KEYED, Action, Ref
from onnxbuild.plan.build import build_plan
from onnxbuild.plan.manifest import key_of, make_manifest
from onnxbuild.recipe.types import (
    Auto,
    Axis,
    Benchmark,
    Bound,
    Calibration,
    CustomPass,
    Evaluation,
    FileData,
    Framework,
    Function,
    Input,
    LatencyGate,
    LoaderData,
    MemoryGate,
    Metric,
    OnnxoptimizerPass,
    OnnxruntimePass,
    Output,
    OutputTolerance,
    Package,
    Provider,
    Pruning,
    Quantization,
    RandomData,
    Recipe,
    Session,
    Source,
    SpeedGate,
    Target,
    Tolerance,
    TransformersPass,
    Tuning,
)
from onnxbuild.stages.optimize import OptimizeParams
from onnxbuild.stages.stage import AnyStage
from onnxbuild.stages.table import STAGES
from tests.incremental.variations import variations

TOLERANCE = Tolerance(
    outputs={"y": OutputTolerance(atol=0.1, rtol=0.1, max_abs=1.0, mean_abs=1.0, cosine=0.9, sqnr_db=9.0)},
    metric=Bound(kind="at_least", value=0.9, of="source", text="at least 90% of source"),
)
TARGET = Target(
    recipe="net",
    variant="default",
    file="recipes/net.yaml",
    folder="recipes",
    description="a net",
    source=Source(
        framework=Framework.TORCH,
        factory=Function("net.py", "build", {"width": 4}),
        weights="net.safetensors",
        sha256="ab",
        reads=("conf/*.json",),
        env=("REVISION",),
    ),
    inputs=(Input(name="x", dtype="float32", shape=("batch", 8), range=(0.0, 1.0)),),
    outputs=(Output(name="y", method="predict"),),
    dynamic_axes={"batch": Axis(max=8)},
    opset=20,
    ir_version=10,
    passes=(
        OnnxoptimizerPass(names=("eliminate_identity",)),
        OnnxruntimePass(level="basic"),
        TransformersPass(model_type="bert", num_heads=2, hidden_size=8, expect={"Attention": 1}),
        CustomPass(Function("passes/a.py", "run", {"depth": 2})),
    ),
    pruning=Pruning(method="magnitude", sparsity=0.5, include=("a",), exclude=("b",)),
    calibration=Calibration(data=FileData("train.npz"), samples=8),
    evaluation=Evaluation(
        data=LoaderData(Function("load.py", "load", {"part": "test"})),
        metric=Metric(name="share", function=Function("share.py", "share", {"top": 1})),
        samples=16,
        output="y",
    ),
    quantization=Quantization(mode="static", op_types=("MatMul",), exclude=("fc",)),
    tolerance=TOLERANCE,
    providers=(Provider(name="cpu", tolerance=TOLERANCE),),
    session=Session(),
    size=Bound(kind="at_most", value=1e6, text="at most 1 MB"),
    package=Package(metadata={"team": "kiosk"}),
    guard="revert",
    strict_reads=False,
    benchmark=Benchmark(batch=(1, 4), min_seconds=0.5, memory=True),
    speed=SpeedGate(bound=Bound(kind="at_least", value=1.1, of="fp32"), provider="cpu", batch=1),
    latency=(LatencyGate(percentile="p95", bound=Bound(kind="at_most", value=5.0), provider="cpu", batch=8),),
    memory=MemoryGate(bound=Bound(kind="at_most", value=1e8), provider="cpu"),
    tune=Tuning(objective="latency", batch=1),
)
COMPILED = msgspec.structs.replace(
    TARGET,
    recipe="compiled",
    providers=(Provider(name="qnn", tolerance=TOLERANCE, options={"htp_arch": "75"}),),
    package=Package(formats=("onnx", "compiled"), portable=False),
)
AUTO = Auto(candidates=(Quantization(mode="dynamic"), Quantization(mode="static", per_channel=True)))
HARDWARE = "some CPU; avx"
CORES = 8
NOT_IN_A_PLAN = {
    "recipe": "a renamed recipe is the same work",
    "variant": "a renamed variant is the same work",
    "file": "a moved recipe is the same work",
    "folder": "the folder's files are keyed by content",
    "description": "is for people",
    "source.sha256": "a pin is checked before anything runs; the file is keyed by content",
    "tolerance": "the providers hold it merged; gates are computed from measurements",
    "providers.0.tolerance": "gates are computed from measurements",
    "providers.0.min_nodes": "gates are computed from measurements",
    "providers.0.required": "gates are computed from measurements",
    "size": "a gate computed from the package's files",
    "speed": "a gate; the variant that it names is planned where the recipe has it",
    "latency.0.percentile": "a limit: every percentile is measured",
    "latency.0.bound": "a limit: gates are computed from measurements",
    "memory": "a limit: gates are computed from measurements",
    "strict_reads": "a limit: what was read is in the trace",
    "guard": "a limit: what was left out is in the trace",
    "locked": "what a search tries first, under the same key",
    "sessions": "what tune takes instead of a search, under the same key",
    "places": "where the recipe says it",
}
"""Fields of a target, with all below them, whose change may leave every key as it is."""


def keys(target: Target) -> list[str]:
    """All keys of a target's actions, as if no file and no tool differed, and inputs were what their keys say."""
    plan = build_plan([Recipe(name="net", file="recipes/net.yaml", description="", targets=(target,))], [target.name])
    found: dict[str, str] = {}
    for action in plan.actions.values():
        found[action.name] = key(action, {label: found[ref.action] for label, ref in action.inputs.items()})
    return sorted(found.values())


def key(action: Action, inputs: Mapping[str, str] | None = None, stage: AnyStage | None = None) -> str:
    if inputs is None:
        inputs = {label: f"{ref.action} {ref.output}" for label, ref in action.inputs.items()}
    stage = stage if stage is not None else STAGES[action.stage]
    content = {label: f"digest of {label}" for label in action.files}
    environment = dict.fromkeys(action.env, "value")
    hardware = HARDWARE if stage.hardware(action.params) else None
    cores = CORES if stage.cores(action.params) else None
    manifest = make_manifest(
        action, stage.version, content, inputs, {}, environment, stage.unkeyed, hardware, None, cores
    )
    return key_of(manifest)


def actions() -> list[Action]:
    """One action of every stage, from a target with everything and one from an ONNX file."""
    onnx = msgspec.structs.replace(
        TARGET, recipe="old", source=Source(framework=Framework.ONNX, path="old.onnx", env=("REVISION",))
    )
    repaired = msgspec.structs.replace(
        TARGET, recipe="repaired", quantization=msgspec.structs.replace(TARGET.quantization, repair=True)
    )
    auto = msgspec.structs.replace(TARGET, recipe="auto", quantization=None, auto=AUTO)
    every = (TARGET, onnx, repaired, auto, COMPILED)
    plan = build_plan(
        [Recipe(name=t.recipe, file=t.file, description="", targets=(t,)) for t in every], [t.name for t in every]
    )
    planned = [*plan.actions.values(), *plan.explaining.values()]
    assert {action.stage for action in planned} == set(STAGES) - {"inspect", "difference", "describe", "compare"}
    return planned


def test_asking_for_repair_leaves_quantisation_as_it_is() -> None:
    """Only a search has the tolerance in its key; what it starts from is shared with a target that does not search."""
    repaired = msgspec.structs.replace(TARGET, quantization=msgspec.structs.replace(TARGET.quantization, repair=True))
    before, after = by_action(TARGET), by_action(repaired)
    assert {name: after[name] for name in before if not name.startswith("net/validate")} == {
        name: key for name, key in before.items() if not name.startswith("net/validate")
    }
    assert {name.partition("@")[0] for name in after.keys() - before.keys()} == {"net/repair", "net/validate"}
    looser = Provider(name="cpu", tolerance=Tolerance(outputs={"y": OutputTolerance(max_abs=2.0)}))
    changed = by_action(msgspec.structs.replace(repaired, providers=(looser,)))
    assert {name for name in after if changed[name] != after[name]} == {"net/repair"}


def test_every_field_of_an_action_is_in_the_key_or_exempt() -> None:
    assert set(NOT_KEYED) < {field.name for field in dataclasses.fields(Action)}
    action = Action(
        name="net/quantize",
        stage="quantize",
        params=msgspec.defstruct("Params", [("depth", int)], namespace={})(depth=1),
        inputs={"model": Ref("net/export", "model")},
        files={"custom": "recipes/a.py"},
        folder="recipes",
        env=("REVISION",),
        reads=("*.json",),
        after=("net/validate",),
        targets=("net:default",),
    )
    others = dict(variations(action))
    others["stage"] = dataclasses.replace(action, stage="prune")
    stage = STAGES["export"]
    unkeyed = {path for path, other in others.items() if key(other, stage=stage) == key(action, stage=stage)}
    assert {path.partition(".")[0] for path in others} == {field.name for field in dataclasses.fields(Action)}
    assert "files.custom" in unkeyed, "a file counts by its content, not by where it lies"
    assert {path.partition(".")[0] for path in unkeyed - {"files.custom"}} == set(NOT_KEYED)
    assert all(len(reason) > 10 for reason in NOT_KEYED.values())


@pytest.mark.parametrize("action", actions(), ids=lambda action: action.name)
def test_every_parameter_is_in_the_key_or_a_limit(action: Action) -> None:
    """Every leaf of every parameter, however deep; no two changes give one key."""
    stage = STAGES[action.stage]
    seen = {key(action): "nothing"}
    for path, params in variations(action.params):
        changed = key(dataclasses.replace(action, params=params))
        if path.partition(".")[0] in stage.unkeyed:
            assert changed == key(action), path
        else:
            assert changed not in seen, f"{path} gives the key of {seen[changed]}"
            seen[changed] = path
    assert len(seen) > 1
    assert set(stage.unkeyed) <= set(stage.params.__struct_fields__)


def test_every_value_of_a_target_is_in_a_key_or_exempt() -> None:
    base = keys(TARGET)
    silent = set()
    for path, target in variations(TARGET):
        try:
            changed = keys(target)
        except (TypeError, AttributeError, IndexError, msgspec.MsgspecError):
            continue  # a value no recipe can hold here, such as a text in place of a structure
        if changed == base:
            silent.add(path)
    exempt = {path for path in silent if any(path == name or path.startswith(f"{name}.") for name in NOT_IN_A_PLAN)}
    assert silent - exempt == set()
    unused = {name for name in NOT_IN_A_PLAN if not any(path == name or path.startswith(f"{name}.") for path in silent)}
    assert unused == set(), "listed as exempt, but in a key"


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({"opset": 19}, {"export", "optimize", "package"}),
        ({"pruning": msgspec.structs.replace(TARGET.pruning, sparsity=0.6)}, {"prune"}),
        ({"session": Session(intra_op_threads=2)}, {"validate", "place", "benchmark", "package", "tune"}),
        ({"calibration": Calibration(data=FileData("train.npz"), samples=9)}, {"data"}),
        ({"package": Package(metadata={"team": "shop"})}, {"package"}),
        ({"outputs": (Output(name="z", method="predict"),)}, {"export", "reference", "package"}),
        ({"evaluation": Evaluation(data=RandomData(seed=1))}, {"data", "validate"}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_value_of_a_target_is_in_the_keys_of_its_stages_only(changes: dict[str, Any], stages: set[str]) -> None:
    """With the same inputs, so that only what an action itself is made from counts."""
    before, after = by_action(TARGET), by_action(msgspec.structs.replace(TARGET, **changes))
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert {name.rpartition("/")[2].partition(".")[0].partition("@")[0] for name in changed} == stages


def test_what_is_delivered_for_a_provider_is_what_is_measured_on_it() -> None:
    """Placement is read from the plain model: a compiled one does not say which nodes run where."""
    both = msgspec.structs.replace(COMPILED, providers=(*TARGET.providers, *COMPILED.providers))
    plan = build_plan([Recipe(name="net", file="recipes/net.yaml", description="", targets=(both,))], [both.name])
    compiled = Ref(plan.targets[0].compiled["qnn"], "compiled")
    plain = plan.targets[0].models[-1].ref
    assert plan.targets[0].compiled.keys() == {"qnn"}
    models = {name: action.inputs.get("model") for name, action in plan.actions.items()}
    for stage in ("validate", "benchmark"):
        assert models[f"compiled/{stage}@qnn"] == compiled
        assert models[f"compiled/{stage}@cpu"] == plain
    assert models["compiled/place@qnn"] == plain
    assert models["compiled/package"] == plain
    assert plan.actions["compiled/benchmark@qnn"].inputs["plain"] == plain
    assert "plain" not in plan.actions["compiled/benchmark@cpu"].inputs


def test_a_ratio_compares_what_is_delivered_with_what_is_delivered() -> None:
    gate = SpeedGate(bound=Bound(kind="at_least", value=1.1, of="fp32"), provider="qnn", batch=1)
    own = msgspec.structs.replace(COMPILED, variant="int8", speed=gate)
    other = msgspec.structs.replace(COMPILED, variant="fp32", quantization=None)
    plan = build_plan([Recipe(name="compiled", file="a.yaml", description="", targets=(own, other))], [own.name])
    inputs = plan.actions[plan.targets[0].versus or ""].inputs
    assert inputs["model"] == Ref(plan.targets[0].compiled["qnn"], "compiled")
    assert inputs["other"] == Ref(plan.targets[1].compiled["qnn"], "compiled")


def by_action(target: Target) -> dict[str, str]:
    recipe = Recipe(name="net", file="recipes/net.yaml", description="", targets=(target,))
    plan = build_plan([recipe], [target.name])
    return {action.name: key(action, dict.fromkeys(action.inputs, "same")) for action in plan.actions.values()}


def test_parameter_of_a_type_without_a_canonical_form_is_an_error() -> None:
    class Odd:
        pass

    params = msgspec.defstruct("Params", [("odd", Any)])(odd=Odd())
    action = Action(name="a", stage="prune", params=params, inputs={}, files={}, folder="")
    with pytest.raises(TypeError):
        key(action)


def test_stages_whose_results_depend_on_the_hardware_have_it_in_their_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Export, reference, portable passes, pruning, quantising and packaging serve every CPU."""
    params = OptimizeParams(step=OnnxruntimePass("all"), opset=20, ir_version=10, limits={})
    tied = dataclasses.replace(next(a for a in actions() if a.stage == "optimize"), params=params)
    found = [*actions(), tied]
    before = [key(action) for action in found]
    monkeypatch.setattr(f"{__name__}.HARDWARE", "some CPU; avx avx512_vnni")
    changed = [action for action, old in zip(found, before, strict=True) if key(action) != old]
    assert {action.stage for action in changed} == {
        "auto", "benchmark", "blame", "compile", "optimize", "place", "repair", "tune", "validate",
    }  # fmt: skip
    assert [action.params for action in changed if action.stage == "optimize"] == [params]


def test_stages_that_measure_time_or_use_all_cores_have_their_number_in_their_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everywhere = msgspec.structs.replace(TARGET, recipe="wide", session=Session(intra_op_threads=0))
    recipe = Recipe(name="wide", file="recipes/net.yaml", description="", targets=(everywhere,))
    wide = [*build_plan([recipe], [everywhere.name]).actions.values()]
    found = [*actions(), *wide]
    before = [key(action) for action in found]
    monkeypatch.setattr(f"{__name__}.CORES", 4)
    changed = [action for action, old in zip(found, before, strict=True) if key(action) != old]
    assert {action.stage for action in changed if action not in wide} == {"auto", "benchmark", "tune"}
    assert {action.stage for action in changed if action in wide} == {"benchmark", "place", "tune", "validate"}
