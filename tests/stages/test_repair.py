"""Repair: every mode, what is not there to be measured, and what meets its tolerance already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxbuild.data.calls import read_calls
from onnxbuild.recipe.types import Choice, Quantization
from onnxbuild.stages.proving import Proof
from onnxbuild.stages.quantizing import quantize_model
from onnxbuild.stages.repair import CHOICE, REPAIR, RepairFacts, RepairParams, describe_choice
from onnxbuild.stages.stage import Workspace
from tests.stages.models import floats, model, node, outputs_of, value, weight
from tests.stages.searching import bench, joined, proofs

ROWS = floats("x", (32, 8), (32, 8))


def repair(
    folder: Path,
    proto: onnx.ModelProto,
    quantization: Quantization,
    wanted: dict[str, Proof],
    locked: Choice | None = None,
) -> tuple[RepairFacts, Workspace]:
    ws = replace(bench(folder, proto, ROWS), locked=locked)
    calls = read_calls(ws.inputs["calibration"])
    quantized = quantize_model(ws.inputs["model"], quantization, (), calls, folder / "naive").folder
    ws.inputs["quantized"] = quantized
    return REPAIR.run(RepairParams(quantization=quantization, proofs=wanted), ws), ws


def wide(name: str) -> onnx.ModelProto:
    """Return four layers, of which `name` has rows of weights far beyond the others, in every block of sixteen."""
    shapes = {"fc1": (8, 32), "fc2": (32, 32), "fc3": (32, 32), "fc4": (32, 3)}
    weights = {layer: weight(f"{layer}.w", *shape, scale=0.2) for layer, shape in shapes.items()}
    array = numpy_helper.to_array(weights[name]).copy()
    array[::16] *= 60
    weights[name] = numpy_helper.from_array(array, f"{name}.w")
    nodes, x = [], "x"
    for layer in shapes:
        y = "y" if layer == "fc4" else f"{layer}.y"
        nodes.append(node("MatMul", [x, f"{layer}.w"], [y], name=f"{layer}/MatMul"))
        if layer != "fc4":
            nodes.append(node("Tanh", [y], [f"{layer}.t"], name=f"{layer}/Tanh"))
        x = f"{layer}.t"
    return model(nodes, list(weights.values()), inputs=[value("x", "batch", 8)], outputs=[value("y", "batch", 3)])


@pytest.mark.parametrize(("mode", "limit"), [("static", 30.0), ("dynamic", 30.0), ("int4", 18.0)])
def test_the_bad_layer_is_kept_in_float_in_every_mode(tmp_path: Path, mode: str, limit: float) -> None:
    facts, ws = repair(tmp_path, wide("fc2"), Quantization(mode=mode, block_size=16), proofs(sqnr_db=limit))
    assert not facts.before.meets
    assert facts.after.meets
    assert facts.changed
    call, expected = read_calls(ws.inputs["calls"])[0], read_calls(ws.inputs["reference"])[0]["y"]
    noise = outputs_of(ws.out / "model", call)["y"] - expected
    assert 10 * np.log10((expected**2).sum() / (noise**2).sum()) > limit
    assert msgspec.json.decode((ws.out / "choice" / CHOICE).read_bytes(), type=Choice) == facts.choice


def test_a_provider_that_is_not_there_is_not_searched_for(tmp_path: Path) -> None:
    proof = proofs(sqnr_db=300.0)["cpu"]
    absent = {
        "cuda": msgspec.structs.replace(proof, measuring=msgspec.structs.replace(proof.measuring, provider="cuda"))
    }
    facts, _ = repair(tmp_path, joined(), Quantization(mode="static"), absent)
    assert not facts.changed
    assert len(facts.tried) == 1


def test_a_locked_choice_that_misses_is_told_and_searched_past(tmp_path: Path) -> None:
    locked = Choice(keep=("fc1/Gemm",))
    facts, _ = repair(tmp_path, joined(), Quantization(mode="static"), proofs(sqnr_db=30.0), locked)
    assert facts.locked == locked
    assert facts.choice.keep == ("Concat", "fc2/Gemm")
    assert REPAIR.honours(locked, facts), "it could not be taken, so the trace stands"
    assert REPAIR.honours(facts.choice, facts)
    assert not REPAIR.honours(Choice(keep=("fc3/Gemm",)), facts)


def test_a_choice_reads_as_a_sentence() -> None:
    choice = Choice(keep=("a/Conv", "a/Relu"), calibrate="entropy", per_channel=True)
    assert describe_choice(choice, ("a",)) == "calibrate entropy; per_channel true; 1 layer in float: a"
    assert describe_choice(Choice(), ()) == "the recipe's settings"
