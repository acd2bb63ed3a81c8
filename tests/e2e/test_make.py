"""`onnxbuild make` on one ONNX recipe, from nothing to nothing to do."""

from __future__ import annotations

import json
import shutil

import onnx
import onnxruntime as ort
import pytest

from tests.project import MLP, Project, write_mlp

VARIANTS = """
variants:
  fp32: {}
  int8:
    quantization: {mode: dynamic}
    tolerance: {metric: {at_least: 90% of source}}
    gates: {size: {at_most: 200% of fp32}}
"""


def test_first_make_delivers_a_model_that_runs(mlp: Project) -> None:
    done = mlp.make()
    assert done.code == 0, done.err
    folder = mlp.root / "build/mlp/default"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["opset"] == {"": 20}
    assert [i["name"] for i in manifest["inputs"]] == ["x"]
    assert manifest["inputs"][0]["shape"] == ["batch", 8]
    session = ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    assert [o.name for o in session.get_outputs()] == ["y"]
    assert done.event("verdict")["verdict"] == "passed"
    assert (mlp.root / "reports/mlp.html").exists()
    assert (mlp.root / "reports/index.html").exists()


def test_second_make_says_in_one_line_that_nothing_is_to_do(mlp: Project) -> None:
    assert mlp.make().code == 0
    done = mlp.make()
    assert done.code == 0
    assert [e["event"] for e in done.events] == ["plan", "end"]
    assert done.out.count("\n") == 1
    assert done.out.startswith("Nothing to do")


def test_equal_prefixes_of_variants_run_once(mlp: Project) -> None:
    mlp.recipe("mlp", MLP + VARIANTS)
    done = mlp.make()
    assert done.code == 0, done.err
    assert done.ran.count("mlp/canonicalize") == 1
    assert "mlp:int8/quantize" in done.ran or "mlp/quantize" in done.ran


def test_failed_gate_keeps_the_last_good_output_and_fails_again_without_measuring(mlp: Project) -> None:
    assert mlp.make().code == 0
    good = (mlp.root / "build/mlp/default/model.onnx").read_bytes()
    mlp.recipe("mlp", MLP + "quantization: {mode: dynamic}\ntolerance: {outputs: {y: {max_abs: 1.0e-7}}}\n")
    done = mlp.make()
    assert done.code == 1
    gate = done.event("gate", gate="tolerance.y.max_abs")
    assert gate["verdict"] == "failed"
    assert done.event("verdict")["output"] is None
    assert (mlp.root / "build/mlp/default/model.onnx").read_bytes() == good
    again = mlp.make()
    assert again.code == 1
    assert again.ran == []
    assert again.event("gate", gate="tolerance.y.max_abs") == gate


def test_altered_output_is_restored(mlp: Project) -> None:
    assert mlp.make().code == 0
    model = mlp.root / "build/mlp/default/model.onnx"
    good = model.read_bytes()
    model.write_bytes(good[:-1] + b"x")
    done = mlp.make()
    assert done.code == 0
    assert done.actions("restore") == ["mlp/package"]
    assert done.event("action", action="mlp/package")["reasons"] == ["the delivered files were altered"]
    assert done.ran == []
    assert model.read_bytes() == good


def test_new_limit_alone_is_told_as_such_and_no_file_is_called_altered(mlp: Project) -> None:
    assert mlp.make().code == 0
    mlp.recipe("mlp", MLP + "tolerance: {outputs: {y: {atol: 0.5}}}\n")
    dry, done = mlp.make("-n"), mlp.make()
    assert done.event("action", action="mlp/package")["reasons"] == [
        "its manifest tells other inputs, limits or results"
    ]
    assert "restores  mlp/package" in dry.out
    assert dry.out.splitlines()[-1].startswith("0 would run, 0 wait, 1 to restore, ")


def test_edit_and_revert_restores_without_running(mlp: Project) -> None:
    assert mlp.make().code == 0
    write_mlp(mlp, seed=1)
    assert mlp.make().ran
    write_mlp(mlp, seed=0)
    done = mlp.make()
    assert done.code == 0
    assert done.ran == []
    assert done.event("end")["restored"] > 0


def test_altered_blob_is_detected_and_rebuilt(mlp: Project) -> None:
    assert mlp.make().code == 0
    clean = (mlp.root / "build/mlp/default/model.onnx").read_bytes()
    blobs = [p for p in (mlp.root / ".onnxbuild/blobs").rglob("*") if p.is_file()]
    for blob in blobs:
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 1
        blob.chmod(0o644)
        blob.write_bytes(data)
    mlp.recipe("mlp", MLP + "passes: [{onnxscript: optimize}]\n")
    done = mlp.make()
    assert done.code == 0, done.err
    assert any(e["event"] == "notice" and e["code"] == "corrupt-artifact" for e in done.events)
    mlp.recipe("mlp", MLP)
    (mlp.root / "build/mlp/default/model.onnx").unlink()
    assert mlp.make().code == 0
    assert (mlp.root / "build/mlp/default/model.onnx").read_bytes() == clean


@pytest.mark.parametrize("flag", ["-k", None])
def test_without_keep_going_nothing_new_starts_after_a_failure(mlp: Project, flag: str | None) -> None:
    mlp.write("recipes/passes/bad.py", "def run(model):\n    raise ValueError('not today')\n")
    mlp.recipe("a-broken", MLP + "passes: [{custom: {function: passes/bad.py:run}}]\n")
    done = mlp.make("-j1", *([flag] if flag else []))
    assert done.code == 1
    built = (mlp.root / "build/mlp/default/model.onnx").exists()
    assert built is (flag is not None)
    assert ("1 failed, 1 not built: " in done.out) is (flag is None)
    assert ("hint `-k` builds" in done.out) is (flag is None)


def test_changed_external_data_of_an_onnx_source_reruns(mlp: Project) -> None:
    path = mlp.root / "recipes/models/mlp.onnx"
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="mlp.data", size_threshold=0)
    first = mlp.make()
    assert first.code == 0, first.err
    data = path.with_name("mlp.data")
    weights = bytearray(data.read_bytes())
    weights[-4 * 64 :] = bytes(4 * 64)  # the last rows of w2
    data.write_bytes(weights)
    done = mlp.make("-k")
    assert "mlp/canonicalize" in done.ran
    assert done.event("action", action="mlp/canonicalize")["reasons"] == ["input recipes/models/mlp.data changed"]


def test_deliveries_of_targets_that_went_away_are_told_and_cleaned(mlp: Project) -> None:
    mlp.recipe("mlp", MLP + "variants: {old: {}, kept: {}}\n")
    mlp.recipe("gone", MLP)
    assert mlp.make().code == 0
    assert mlp.run("accept", "gone").code == 0
    assert mlp.make().out.startswith("Nothing to do")
    mlp.recipe("mlp", MLP + "variants: {b: {}, c: {}, d: {}, e: {}, kept: {}}\n")
    assert mlp.make().code == 0
    mlp.recipe("mlp", MLP + "variants: {old: {}, kept: {}}\n")
    many = [e["message"] for e in mlp.make().events if e["event"] == "notice"]
    assert (len(many), many[3].split(";")[0]) == (4, "1 more in build/ are of no target any more")
    assert mlp.run("clean", "mlp:?").code == 0
    mlp.recipe("mlp", MLP + "variants: {new: {}, kept: {}}\n")
    renamed = mlp.make()
    assert [e["message"] for e in renamed.events if e["event"] == "notice"] == [
        "build/mlp/old is of no target any more; `onnxbuild clean mlp:old` deletes it"
    ]
    (mlp.root / "recipes/gone.yaml").unlink()
    (mlp.root / "build/mlp/mine").mkdir()
    mlp.write("build/gone/notes.txt", "mine")
    shutil.copytree(mlp.root / "build/gone/default", mlp.root / "build/gone/.default.new.1")  # another make delivers
    shutil.copytree(mlp.root / "build/gone/default", mlp.root / "build/prod/v1")  # and here somebody keeps a copy
    assert "note build/gone/default is of no target any more" in mlp.make().out
    assert "recipes/gone.lock.json:1:1: warning[stale-lock]" in mlp.run("check").err
    assert mlp.run("check", "mlp").err == ""
    cleaned = mlp.run("clean", "gone", "mlp:old")
    assert (cleaned.code, cleaned.err) == (0, "")
    assert sorted(p.name for p in mlp.root.glob("build/*/*")) == [
        ".default.new.1", "kept", "mine", "new", "notes.txt", "v1",
    ]  # fmt: skip
    assert not (mlp.root / "reports/gone.html").exists()
    assert "of no target" not in mlp.make("--force").out
    assert mlp.run("clean", "gone").code == 2


def test_a_model_whose_inputs_became_float16_is_proved_and_delivered(mlp: Project) -> None:
    mlp.recipe(
        "mlp",
        MLP + "quantization: {mode: float16, keep_io: false}\nbenchmark: {min_seconds: 0.01, memory: false}\n"
        "tolerance: {outputs: {y: {atol: 0.05}}}\npackage: {formats: [onnx, ort]}\n",
    )
    done = mlp.make()
    assert (done.code, done.err) == (0, "")
    manifest = json.loads((mlp.root / "build/mlp/default/manifest.json").read_text())
    assert [value["dtype"] for value in (*manifest["inputs"], *manifest["outputs"])] == ["float16", "float16"]
    session = ort.InferenceSession(mlp.root / "build/mlp/default/model.onnx")
    assert session.get_inputs()[0].type == "tensor(float16)"
