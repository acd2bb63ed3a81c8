"""PyTorch sources: real modules exported and compared with themselves, and what is refused."""

from __future__ import annotations

import pytest

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import Axis, Framework, Input, Source

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

MODELS = """
import torch
from torch import nn

class Cnn(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(channels * 16, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 2)
        return self.fc(self.drop(x.flatten(1)))

def cnn(channels=4):
    model = Cnn(channels)
    model.bn1.running_mean.uniform_(-1, 1)
    model.bn1.running_var.uniform_(0.5, 2)
    return model

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(20, 6)
        self.rnn = nn.GRU(6, 5, batch_first=True)

    def forward(self, ids, scale):
        hidden, _ = self.rnn(self.emb(ids))
        return hidden * scale.unsqueeze(-1), hidden.argmax(-1)

def two():
    return Two()

class Fn(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        match self.kind:
            case "grows": return x + 1 if x.shape[0] > 3 else x * 2
            case "values":
                if x.sum() > 0:
                    return x + 1
                return x
            case "eig": return torch.linalg.eigvals(x @ x.T).abs()
            case "dict": return {"logits": x}
            case "none": return x, None
            case "nested": return x, (x, x)
            case "pair": return x, x + 1
            case "fours": return x.reshape(x.shape[0], x.shape[1] // 4, 4).sum(-1)
            case "raises": raise ValueError("out of cheese")
            case "same": return x
            case "parts": return x.sum(-1), x * 2

def fn(kind):
    return Fn(kind)

class Lists(nn.Module):
    def forward(self, xs: list[torch.Tensor]):
        return xs[0]

class Keyword(nn.Module):
    def forward(self, x, *, mask):
        return x

class Optional(nn.Module):
    def forward(self, x, mask=None):
        return x if mask is None else x * mask

def lists(): return Lists()
def keyword(): return Keyword()
def optional(): return Optional()
def number(): return 7
def broken(): raise KeyError("no such layer")
"""

IMAGE = Input(name="image", dtype="float32", shape=("batch", 1, 8, 8))
ROWS = Input(name="x", dtype="float32", shape=("batch", 8))


@pytest.fixture
def source(factory):
    def make(function, **options):
        args = options.pop("args", {})
        return Source(framework=Framework.TORCH, factory=factory(MODELS, function, **args), **options)

    return make


def test_convolutions_are_exported_with_the_recipes_names_and_dims(recipe, source):
    proved = recipe.prove(source("cnn", args={"channels": 6}), [IMAGE], ["logits"])
    proved.assert_close()
    assert [(v.name, v.shape) for v in proved.facts.inputs] == [("image", ("batch", 1, 8, 8))]
    assert [(v.name, v.dtype, v.shape) for v in proved.facts.outputs] == [("logits", "float32", ("batch", 10))]
    assert proved.facts.opsets == {"": 20}
    assert proved.facts.ir_version == 10
    assert proved.facts.operators["BatchNormalization"] == 1  # fusing is a pass's business
    assert {"conv1/Conv", "fc/Gemm"} <= set(proved.origins)
    assert proved.origins["conv1/Conv"]["module"] == "conv1"
    assert proved.origins["conv1/Conv"]["line"] == 14
    assert proved.warnings == []


def test_the_file_holds_no_path_and_no_source_text(recipe, source):
    _, work = recipe.export(source("cnn"), [IMAGE], ["logits"])
    data = (work.out / "model" / "model.onnx").read_bytes()
    assert str(recipe.folder).encode() not in data
    assert b"max_pool2d(" not in data


@pytest.mark.parametrize("opset", [18, 19, 22])
def test_the_opset_is_the_one_asked_for(recipe, source, opset):
    proved = recipe.prove(source("cnn"), [IMAGE], ["logits"], opset=opset)
    proved.assert_close()
    assert proved.facts.opsets[""] == opset


def test_two_inputs_of_two_dtypes_and_two_axes(recipe, source):
    inputs = [
        Input(name="scale", dtype="int64", shape=("batch", "time"), range=(0, 19)),
        Input(name="ids", dtype="float32", shape=("batch", "time")),
    ]  # called as forward's other argument, and matched by position all the same
    proved = recipe.prove(source("two"), inputs, ["hidden", "best"], {"batch": Axis(max=5), "time": Axis(max=9)})
    proved.assert_close()
    assert proved.facts.outputs[1].dtype == "int64"
    for value in proved.facts.outputs:
        assert value.shape is not None
        assert value.shape[1] not in range(100), "a loop's length is no fixed dim"


def test_an_optional_argument_may_be_left_out_or_given(recipe, source):
    recipe.prove(source("optional"), [ROWS], ["y"]).assert_close()
    mask = Input(name="mask", dtype="float32", shape=("batch", 8))
    recipe.prove(source("optional"), [ROWS, mask], ["y"]).assert_close()


def test_multiples_and_fixed_axes(recipe, source):
    x = Input(name="x", dtype="float32", shape=("batch", "width"))
    axes = {"batch": Axis(max=1), "width": Axis(min=4, max=32, multiple_of=4)}
    proved = recipe.prove(source("fn", args={"kind": "fours"}), [x], ["y"], axes)
    proved.assert_close()
    assert proved.facts.inputs[0].shape == ("batch", "width")


def test_an_input_that_is_an_output(recipe, source):
    recipe.prove(source("fn", args={"kind": "same"}), [ROWS], ["y"]).assert_close()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_replace_what_the_factory_drew(recipe, source, suffix):
    from safetensors.torch import save_file

    made = source("cnn", weights=f"w{suffix}")
    scope: dict = {}
    exec(MODELS, scope)
    torch.manual_seed(5)
    model = scope["cnn"]().eval()
    (save_file if suffix == ".safetensors" else torch.save)(model.state_dict(), recipe.folder / f"w{suffix}")
    proved = recipe.prove(made, [IMAGE], ["logits"])
    proved.assert_close()
    call = {"image": torch.zeros(1, 1, 8, 8).numpy()}
    from onnxbuild.ort.session import open_session, run_call

    got = run_call(open_session(proved.model), call)["logits"]
    assert torch.allclose(torch.from_numpy(got), model(torch.zeros(1, 1, 8, 8)), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("fc.bias"), "it lacks fc.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "the model has no extra"),
        (lambda s: s.update({"fc.bias": torch.zeros(3)}), r"fc\.bias is \[3\] in the file and \[10\] in the model"),
    ],
)
def test_weights_that_do_not_fit_say_which(recipe, source, change, said):
    scope: dict = {}
    exec(MODELS, scope)
    state = scope["cnn"]().state_dict()
    change(state)
    torch.save(state, recipe.folder / "w.pt")
    with pytest.raises(StageFailure, match=said) as failure:
        recipe.export(source("cnn", weights="w.pt"), [IMAGE], ["logits"])
    assert failure.value.code == "weights-do-not-fit"


def test_a_checkpoint_that_is_no_state_dictionary(recipe, source):
    torch.save({"epoch": 3, "state_dict": {}}, recipe.folder / "w.pt")
    with pytest.raises(StageFailure, match="a mapping of epoch, state_dict") as failure:
        recipe.export(source("cnn", weights="w.pt"), [IMAGE], ["logits"])
    assert "state_dict()" in failure.value.hint


def test_weights_that_would_run_code_are_not_read(recipe, source):
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(recipe.folder / "ran"), "w"))

    (recipe.folder / "w.pt").write_bytes(pickle.dumps({"fc.bias": Evil()}))
    with pytest.raises(StageFailure, match="cannot be read as weights"):
        recipe.export(source("cnn", weights="w.pt"), [IMAGE], ["logits"])
    assert not (recipe.folder / "ran").exists()


def save_program(recipe, dynamic=True):
    scope: dict = {}
    exec(MODELS, scope)
    shapes = ({0: torch.export.Dim("b", min=1, max=16)},) if dynamic else None
    program = torch.export.export(scope["fn"]("parts").eval(), (torch.rand(3, 8),), dynamic_shapes=shapes)
    torch.export.save(program, recipe.folder / "m.pt2")


def test_an_exported_program(recipe):
    save_program(recipe)
    made = Source(framework=Framework.TORCH, path="m.pt2", trust_pickle=True)
    proved = recipe.prove(made, [ROWS], ["sums", "doubled"])
    proved.assert_close()
    assert proved.facts.inputs[0].shape == ("batch", 8)


def test_an_exported_program_needs_trust(recipe):
    save_program(recipe)
    with pytest.raises(StageFailure, match="can run code") as failure:
        recipe.export(Source(framework=Framework.TORCH, path="m.pt2"), [ROWS], ["sums", "doubled"])
    assert failure.value.code == "untrusted-pickle"


def test_a_program_of_one_size_is_not_dynamic(recipe):
    save_program(recipe, dynamic=False)
    with pytest.raises(StageFailure, match="holds for exactly 3") as failure:
        recipe.export(Source(framework=Framework.TORCH, path="m.pt2", trust_pickle=True), [ROWS], ["s", "d"])
    assert failure.value.code == "axis-range"


def refused(recipe, source, inputs=(ROWS,), outputs=("y",)):
    with pytest.raises(StageFailure) as failure:
        recipe.export(source, list(inputs), list(outputs))
    return failure.value


def test_a_branch_on_the_batch_size_is_found(recipe, source):
    failure = refused(recipe, source("fn", args={"kind": "grows"}))
    assert failure.code == "axis-range"
    assert "axis batch of input x is declared 1 to 16" in failure.message
    assert "4 to 16" in failure.message


def test_a_branch_on_values_names_the_users_line(recipe, source):
    failure = refused(recipe, source("fn", args={"kind": "values"}))
    assert failure.code == "export-failed"
    assert ".py:50" in failure.message
    assert "torch.where" in failure.hint


def test_an_operator_that_onnx_lacks_is_named(recipe, source):
    failure = refused(recipe, source("fn", args={"kind": "eig"}))
    assert failure.code == "export-failed"
    assert "linalg_eig" in failure.message


@pytest.mark.parametrize(
    ("kind", "outputs", "said"),
    [
        ("dict", ["y"], "returns a dict with logits"),
        ("none", ["y", "z"], "holds NoneType"),
        ("nested", ["y", "z"], "holds tuple"),
        ("pair", ["y"], "returns 2 tensors, the recipe names 1"),
    ],
)
def test_outputs_that_are_no_flat_tensors_are_refused(recipe, source, kind, outputs, said):
    failure = refused(recipe, source("fn", args={"kind": kind}), outputs=outputs)
    assert failure.code == "source-outputs"
    assert said in failure.message


@pytest.mark.parametrize(
    ("function", "inputs", "said"),
    [
        ("cnn", [IMAGE, ROWS], "forward takes x; the recipe declares 2 inputs"),
        ("two", [ROWS], "forward takes ids, scale; the recipe declares 1 input"),
        ("lists", [ROWS], "argument xs is a list"),
        ("keyword", [ROWS], "requires mask by keyword"),
        ("cnn", [Input(name="image", dtype="string", shape=("batch", 1, 8, 8))], "is declared string"),
    ],
)
def test_inputs_that_forward_does_not_take_are_refused(recipe, source, function, inputs, said):
    failure = refused(recipe, source(function), inputs)
    assert failure.code == "source-inputs"
    assert said in failure.message


def test_a_factory_that_raises_shows_the_users_frames_alone(recipe, source):
    failure = refused(recipe, source("broken"))
    assert failure.code == "user-code"
    assert "KeyError: 'no such layer'" in failure.message
    assert "broken" in failure.traceback
    assert "onnxbuild" not in failure.traceback.replace(str(recipe.folder), "")
    assert failure.traceback.count('File "') == 1


def test_a_forward_that_raises_starts_at_the_users_frame(recipe, source):
    failure = refused(recipe, source("fn", args={"kind": "raises"}))
    assert "out of cheese" in failure.message
    assert failure.traceback.count('File "') == 1
    assert "nn/modules/module.py" not in failure.traceback


def test_a_factory_that_returns_no_module(recipe, source):
    assert "returned a int, not a torch.nn.Module" in refused(recipe, source("number")).message
