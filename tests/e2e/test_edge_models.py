"""Models at the edge through the real command, in every way to quantise: right, or unchanged and said, or refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxruntime.quantization import quantize_static

from tests.project import Done, Project
from tests.stages.models import floats, operators
from tests.stages.test_branches import carried, decoder, weights_of
from tests.stages.test_edge_models import loop, recurrent, scan, shared, trees
from tests.stages.test_float16 import growing_loop
from tests.stages.test_quantizer_traps import Reader

MODES = ("static", "dynamic", "float16")
RECIPE = """\
format: 1
source: {{framework: onnx, path: models/{name}.onnx}}
inputs: {inputs}
outputs: [y]
dynamic_axes: {{batch: {{max: 8}}}}
calibration: {{data: data/{name}}}
evaluation: {{data: data/{name}}}
tolerance: {{outputs: {{y: {{sqnr_db: {db}}}}}}}
variants:
  fp32: {{}}
"""
X8, X32 = "{x: {dtype: float32, shape: [batch, 8]}}", "{x: {dtype: float32, shape: [batch, 32]}}"
SCANNED = "{x: {dtype: float32, shape: [batch, 1, 8]}}"
SEQUENCE = "{x: {dtype: float32, shape: [5, batch, 8]}}"
FLAGGED = "{x: {dtype: float32, shape: [batch, 128]}, flag: {dtype: bool, shape: []}}"
MODELS = {
    "if": (lambda: decoder(128), FLAGGED, [(3, 128)] * 4),
    "loop": (loop, X8, [(1, 8), (4, 8)]),
    "carried": (carried, X32, [(4, 32), (6, 32)]),
    "scan": (scan, SCANNED, [(1, 1, 8), (5, 1, 8)]),
    "lstm": (lambda: recurrent("LSTM", 4), SEQUENCE, [(5, 1, 8), (5, 3, 8)]),
    "gru": (lambda: recurrent("GRU", 3), SEQUENCE, [(5, 1, 8), (5, 3, 8)]),
    "shared": (shared, X32, [(4, 32), (6, 32)]),
    "trees": (trees, X8, [(8, 8)]),
}


@dataclass(frozen=True)
class Made:
    """The project with all of them, and what one make of it left."""

    project: Project
    done: Done

    def gate(self, target: str) -> tuple[float, str]:
        """Return how many dB a target came to, and the verdict of the gate."""
        found = self.done.event("gate", target=target, gate="tolerance.y.sqnr_db")
        return float(found["measured"]), found["verdict"]

    def codes(self, action: str) -> list[str]:
        """Return the codes of the warnings of an action."""
        return [warning["code"] for warning in self.done.event("action", action=action)["warnings"]]

    def model(self, target: str) -> ir.Model:
        """Return the delivered model of a target."""
        return ir.load(self.project.root / "build" / target.replace(":", "/") / "model.onnx")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Every model, as float32 and in every mode, and one that is quantised already; takes some ten seconds."""
    project = Project(tmp_path_factory.mktemp("edges"))
    for name, (make, inputs, shapes) in MODELS.items():
        write(project, name, make(), inputs, shapes)
    calls = floats("x", (4, 32), (6, 32))
    onnx.save(shared(), project.root / "float.onnx")
    quantize_static(project.root / "float.onnx", project.root / "int8.onnx", Reader(calls))
    write(project, "int8", onnx.load(project.root / "int8.onnx"), X32, [(4, 32), (6, 32)], modes=("static",))
    write(project, "growing", growing_loop(60_000.0), X8, [(2, 8), (5, 8)], modes=("float16",))
    with (project.root / "recipes/int8.yaml").open("a") as file:
        file.write("  mended: {quantization: {mode: static, repair: true}}\n")
    return Made(project, project.make("-k", "-j2"))


def write(
    project: Project,
    name: str,
    proto: onnx.ModelProto,
    inputs: str,
    shapes: list[tuple[int, ...]],
    modes: tuple[str, ...] = MODES,
) -> None:
    """Write a model, its data (a file a call; a flag that is there is on in every other) and its recipe."""
    folder = project.root / "recipes/data" / name
    folder.mkdir(parents=True)
    (project.root / "recipes/models").mkdir(exist_ok=True)
    onnx.save(proto, project.root / f"recipes/models/{name}.onnx")
    for number, call in enumerate(floats("x", *shapes)):
        flag = {"flag": np.array(number % 2 == 0)} if "flag" in inputs else {}
        np.savez(folder / f"{number}.npz", **call, **flag)
    text = RECIPE.format(name=name, inputs=inputs, db=20)
    project.recipe(name, text + "".join(f"  {mode}: {{quantization: {{mode: {mode}}}}}\n" for mode in modes))


def test_every_one_is_delivered_within_tolerance(made: Made) -> None:
    targets = [f"{name}:{mode}" for name in MODELS for mode in ("fp32", *MODES)]
    assert {target: made.gate(target)[1] for target in targets} == dict.fromkeys(targets, "passed"), made.done.err
    assert min(made.gate(target)[0] for target in targets) > 30
    assert made.done.code == 1, "the one that is quantised already"


@pytest.mark.parametrize(
    ("name", "sizes"), [("if", [128 * 4, 128 * 128]), ("loop", [64]), ("carried", [1024]), ("scan", [64])]
)
def test_weights_in_bodies_are_quantised_and_none_is_there_twice(made: Made, name: str, sizes: list[int]) -> None:
    found = {mode: [(kind, n) for kind, n in weights_of(made.model(f"{name}:{mode}")) if n > 32] for mode in MODES}
    assert found["static"] == [("INT8", size) for size in sizes]
    assert found["float16"] == [("FLOAT16", 2 * size) for size in sizes]
    assert {kind for kind, _ in found["dynamic"]} == {"INT8"}
    for mode in MODES:
        assert made.codes(f"{name}:{mode}/quantize") == []


def test_weights_in_branches_make_the_model_smaller(made: Made) -> None:
    size = {
        mode: (made.project.root / f"build/if/{mode}/model.onnx").stat().st_size
        for mode in ("fp32", "static", "float16")
    }
    assert size["static"] < 0.33 * size["fp32"]
    assert size["float16"] < 0.52 * size["fp32"]


def test_what_float16_cannot_hold_inside_a_loop_stays_in_float32(made: Made) -> None:
    assert made.gate("growing:float16")[0] > 50
    assert made.codes("growing/quantize") == ["float16-overflow"]
    types = {kind for kind, _ in weights_of(made.model("growing:float16"))}
    assert types == {"FLOAT16"}


def test_recurrent_weights_are_quantised_by_the_one_mode_that_can_and_else_said(made: Made) -> None:
    assert "DynamicQuantizeLSTM" in operators(made.model("lstm:dynamic"))
    assert made.codes("lstm:dynamic/quantize") == []
    for action in ("lstm:static/quantize", "gru:static/quantize", "gru:dynamic/quantize"):
        assert made.codes(action) == ["left-in-float"]
    assert {kind for kind, _ in weights_of(made.model("gru:float16"))} == {"FLOAT16"}


def test_a_weight_that_nodes_share_stays_one(made: Made) -> None:
    assert weights_of(made.model("shared:static")) == [("INT8", 32 * 32)]
    assert weights_of(made.model("shared:float16")) == [("FLOAT16", 2 * 32 * 32)]


def test_trees_are_delivered_as_they_are_and_that_is_said(made: Made) -> None:
    files = [(made.project.root / f"build/trees/{mode}/model.onnx").read_bytes() for mode in ("fp32", *MODES)]
    assert files == [files[0]] * len(files)
    for mode in MODES:
        assert "no-effect" in made.codes(f"trees:{mode}/quantize")


def test_what_is_quantised_already_passes_through_is_refused_or_stays_as_it_is(made: Made) -> None:
    assert made.gate("int8:fp32") == (float("inf"), "passed")
    failure = made.done.event("action", action="int8:static/quantize")["failure"]
    assert failure["code"] == "already-quantized"
    assert made.gate("int8:mended") == (float("inf"), "passed")
    assert "mended" in made.codes("int8:mended/quantize")


def test_layers_in_branches_are_ranked_as_others_are(made: Made) -> None:
    done = made.project.run("blame", "if:static")
    assert done.code == 0, done.err
    ranked = [line.split()[0] for line in done.out.splitlines() if " kB and " in line or " B and " in line]
    assert {"then", "else"} <= {*ranked}


def test_a_branch_without_calibration_data_is_named_and_its_weights_stay(made: Made) -> None:
    recipe = (made.project.root / "recipes/if.yaml").read_text()
    data = made.project.root / "recipes/data/half"
    data.mkdir()
    for number in (0, 2):
        (data / f"{number}.npz").write_bytes((made.project.root / f"recipes/data/if/{number}.npz").read_bytes())
    made.project.recipe("half", recipe.replace("data/if", "data/half"))
    done = made.project.make("half:static")
    assert done.code == 0, done.err
    assert "if/else_branch stays in float" in done.out
    assert "no calibration data goes through it" in done.out
    assert "[uncalibrated-branch]" in done.out
    assert weights_of(made.model("half:static")) == [
        ("FLOAT", 4 * 128 * 128), ("INT8", 128 * 4), ("INT8", 128 * 128)
    ]  # fmt: skip
