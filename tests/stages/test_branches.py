"""Static quantisation of what If, Loop and Scan hold: the raw tool's result beside ours, and what bodies see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantFormat, quantize_dynamic, quantize_static

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.bodies import localize
from onnxbuild.stages import kept_calls
from onnxbuild.stages import visits as visiting
from onnxbuild.stages.visits import Visits, visit
from tests.stages.models import FLOAT, delivered, floats, model, node, operators, outputs_of, value, weight
from tests.stages.test_edge_models import BOOL, INT64, array, loop, scan
from tests.stages.test_quantize import branches, quantize, sqnr
from tests.stages.test_quantizer_traps import Reader

Call = dict[str, np.ndarray]
BFLOAT16 = onnx.TensorProto.BFLOAT16


def both(width: int = 8, rows: int = 3) -> list[Call]:
    return [{**call, "flag": np.array(flag)} for call in floats("x", (rows, width)) for flag in (True, False)]


def untyped(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, FLOAT, None)


def graph(name: str, nodes: list[onnx.NodeProto], output: str, inputs: tuple[onnx.ValueInfoProto, ...] = ()) -> Any:
    return helper.make_graph(nodes, name, list(inputs), [untyped(output)])


def weights_of(proto: ir.Model) -> list[tuple[str, int]]:
    """Return dtype and bytes of each tensor of two dims or more, in the main graph and in bodies."""
    tensors = [v.const_value for g in proto.graphs() for v in g.initializers.values() if v.const_value is not None]
    return sorted((t.dtype.name, t.nbytes) for t in tensors if len(t.shape) > 1)


def decoder(width: int = 64) -> onnx.ModelProto:
    """A merged decoder in small: both branches read the same weights of the main graph, and a value it computes.

    That value is also read by a Relu, which the quantiser takes away.
    """
    then = graph(
        "then",
        [node("MatMul", ["h", "w"], ["a"], name="then/MatMul"), node("Relu", ["a"], ["t"], name="then/Relu")],
        "t",
    )
    other = graph("else", [node("MatMul", ["h", "w"], ["e"], name="else/MatMul")], "e")
    return model(
        [
            node("MatMul", ["x", "w"], ["h"], name="fc/MatMul"),
            node("Relu", ["h"], ["r"], name="act/Relu"),
            node("If", ["flag"], ["i"], name="if", then_branch=then, else_branch=other),
            node("Add", ["r", "i"], ["s"], name="sum/Add"),
            node("MatMul", ["s", "v"], ["y"], name="head/MatMul"),
        ],
        [weight("w", width, width, scale=0.1), weight("v", width, 4)],
        inputs=[value("x", "batch", width), value("flag", dtype=BOOL)],
        outputs=[value("y", "batch", 4)],
    )


def nested(last: int = 4) -> onnx.ModelProto:
    """A Loop that stops by its own condition; in it an If that takes one branch in even iterations, one in odd."""
    even = graph("even", [node("MatMul", ["state", "w"], ["p"], name="even/MatMul")], "p")
    odd = graph("odd", [node("MatMul", ["state", "u"], ["q"], name="odd/MatMul")], "q")
    body = helper.make_graph(
        [
            node("Mod", ["i", "two"], ["rest"], name="body/Mod"),
            node("Cast", ["rest"], ["is_odd"], name="body/Cast", to=BOOL),
            node("If", ["is_odd"], ["next"], name="body/If", then_branch=odd, else_branch=even),
            node("Less", ["i", "last"], ["go"], name="body/Less"),
            node("Identity", ["state"], ["seen"], name="body/Seen"),
        ],
        "body",
        [value("i", dtype=INT64), value("cond", dtype=BOOL), untyped("state")],
        [value("go", dtype=BOOL), untyped("next"), untyped("seen")],
    )
    return model(
        [node("Loop", ["", "", "x"], ["y", "states"], name="loop/Loop", body=body)],
        [
            *(weight(name, 8, 8, scale=0.4) for name in ("w", "u")),
            array("two", 2, np.int64),
            array("last", last, np.int64),
        ],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 8), value("states", "steps", "batch", 8)],
    )


@pytest.mark.parametrize(
    ("make", "calls"),
    [(branches, both()), (loop, floats("x", (4, 8))), (scan, floats("x", (5, 1, 8)))],
    ids=["if", "loop", "scan"],
)
def test_the_static_tool_leaves_bodies_as_they_are_and_ours_quantizes_them(
    tmp_path: Path, make: Any, calls: list[Call]
) -> None:
    onnx.save(make(), tmp_path / "m.onnx")
    quantize_static(tmp_path / "m.onnx", tmp_path / "raw.onnx", Reader(calls))
    raw = ir.load(tmp_path / "raw.onnx")
    assert "QuantizeLinear" not in operators(raw)
    facts, ws = quantize(tmp_path / "ours", make(), calls, mode="static")
    before = weights_of(ir.load(tmp_path / "m.onnx"))
    bytes_before = sum(size for _, size in before) or 2 * 8 * 4 * 4  # of the If one lies in a Constant node
    found = [one for one in weights_of(delivered(ws)) if one[0] == "INT8"]
    assert facts.quantized["MatMul"] == len(found)
    assert facts.left == ()
    assert ws.warnings == []
    assert sum(size for _, size in found) * 4 in (bytes_before, 2 * 8 * 4 * 4)
    assert min(sqnr(ws, call) for call in calls) > 30


def carried() -> onnx.ModelProto:
    """A Loop that is given its weight as state and hands it on, as TensorFlow writes it; so it does with a bias that is
    used after it, and with the model's input, twice.
    """
    body = helper.make_graph(
        [
            node("MatMul", ["state", "weight"], ["p"], name="body/MatMul"),
            node("Add", ["p", "bias"], ["q"], name="body/Add"),
            node("Sum", ["q", "first", "second"], ["next"], name="body/Again"),
            node("Identity", ["cond"], ["go"], name="body/Go"),
            node("Identity", ["bias"], ["bias_out"], name="body/Bias"),
        ],
        "body",
        [
            value("i", dtype=INT64),
            value("cond", dtype=BOOL),
            *map(untyped, ("weight", "state", "bias", "first", "second")),
        ],
        [value("go", dtype=BOOL), *map(untyped, ("weight", "next", "bias_out", "first", "second"))],
    )
    return model(
        [
            node(
                "Loop",
                ["times", "", "w", "x", "b", "x", "x"],
                ["w_last", "h", "c", "x1", "x2"],
                name="loop/Loop",
                body=body,
            ),
            node("Add", ["h", "c"], ["y"], name="last/Add"),
        ],
        [weight("w", 32, 32, scale=0.1), weight("b", 32), array("times", 3, np.int64)],
        inputs=[value("x", "batch", 32)],
        outputs=[value("y", "batch", 32)],
    )


@pytest.mark.parametrize(("mode", "kind"), [("dynamic", "INT8"), ("static", "INT8"), ("int4", "UINT8")])
def test_weights_that_a_loop_carries_as_state_are_out_of_the_tools_reach_and_in_ours(
    tmp_path: Path, mode: str, kind: str
) -> None:
    onnx.save(carried(), tmp_path / "m.onnx")
    quantize_dynamic(tmp_path / "m.onnx", tmp_path / "raw.onnx", extra_options={"EnableSubgraph": True})
    assert weights_of(ir.load(tmp_path / "raw.onnx")) == [("FLOAT", 32 * 32 * 4)]
    calls = floats("x", (1, 32), (4, 32))
    facts, ws = quantize(tmp_path / "ours", carried(), calls, mode=mode, block_size=32)
    assert facts.quantized["MatMul"] == 1
    assert {found for found, size in weights_of(delivered(ws)) if size >= 32 * 32 // 2} == {kind}
    assert min(sqnr(ws, call) for call in calls) > 15


@pytest.mark.parametrize("quant_format", ["qdq", "qoperator"])
def test_weights_that_branches_and_the_main_graph_share_are_one_tensor_still(tmp_path: Path, quant_format: str) -> None:
    calls = both(64)
    facts, ws = quantize(tmp_path, decoder(), calls, mode="static", format=quant_format)
    assert facts.quantized["MatMul"] == 4
    assert weights_of(delivered(ws)) == [("INT8", 64 * 4), ("INT8", 64 * 64)]
    assert min(sqnr(ws, call) for call in calls) > 25
    bodies = [graph for graph in delivered(ws).graphs() if graph.name in ("then", "else")]
    assert [output.shape for graph in bodies for output in graph.outputs] == [None, None], (
        "what calls had is no promise"
    )


def test_words_beside_branches_are_left_alone(tmp_path: Path) -> None:
    proto = decoder()
    proto.graph.initializer.append(helper.make_tensor("words", onnx.TensorProto.STRING, [1, 2], [b"a", b"b"]))
    proto.graph.node.append(node("Identity", ["words"], ["said"], name="words/Identity"))
    proto.graph.output.append(value("said", 1, 2, dtype=onnx.TensorProto.STRING))
    facts, ws = quantize(tmp_path, proto, both(64), mode="static")
    assert facts.quantized["MatMul"] == 4
    assert outputs_of(ws.out / "model", both(64)[0])["said"].tolist() == [["a", "b"]]


def test_the_static_tool_writes_an_invalid_model_where_a_branch_reads_what_it_takes_away(tmp_path: Path) -> None:
    onnx.save(decoder(), tmp_path / "m.onnx")
    with pytest.raises(Exception, match=r"input 'h' of node"):
        raw_session(tmp_path, both(64))


def raw_session(folder: Path, calls: list[Call], **options: Any) -> ort.InferenceSession:
    """Return the raw static tool's model of the one in `folder`, opened."""
    quantize_static(folder / "m.onnx", folder / "raw.onnx", Reader(calls), **options)
    return ort.InferenceSession(folder / "raw.onnx", providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("quant_format", ["qdq", "qoperator"])
def test_the_static_tool_cuts_off_an_output_that_a_relu_reads_and_ours_does_not(
    tmp_path: Path, quant_format: str
) -> None:
    proto = model(
        [node("MatMul", ["x", "w"], ["h"], name="fc/MatMul"), node("Relu", ["h"], ["r"], name="act/Relu")],
        [weight("w", 8, 8)],
        inputs=[value("x", "batch", 8)],
        outputs=[value("h", "batch", 8), value("r", "batch", 8)],
    )
    calls = floats("x", (4, 8))
    onnx.save(proto, tmp_path / "m.onnx")
    wanted = ort.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"]).run(["h"], calls[0])[0]
    assert wanted.min() < -1
    assert raw_session(tmp_path, calls).run(["h"], calls[0])[0].min() > -0.1
    _, ws = quantize(tmp_path / "ours", proto, calls, mode="static", format=quant_format)
    assert outputs_of(ws.out / "model", calls[0])["h"].min() == pytest.approx(wanted.min(), rel=0.1)


def test_the_static_tool_loses_a_relu_beside_another_reader_in_qoperator_and_ours_does_not(tmp_path: Path) -> None:
    proto = model(
        [
            node("MatMul", ["x", "w"], ["h"], name="fc/MatMul"),
            node("Relu", ["h"], ["r"], name="act/Relu"),
            node("MatMul", ["r", "v"], ["y"], name="one/MatMul"),
            node("MatMul", ["h", "v"], ["z"], name="two/MatMul"),
        ],
        [weight("w", 8, 8), weight("v", 8, 8)],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 8), value("z", "batch", 8)],
    )
    calls = floats("x", (4, 8))
    onnx.save(proto, tmp_path / "m.onnx")
    y, z = raw_session(tmp_path, calls, quant_format=QuantFormat.QOperator).run(None, calls[0])
    np.testing.assert_allclose(y, np.clip(z, y.min(), y.max()), atol=0.1)  # as if there were no Relu
    _, ws = quantize(tmp_path / "ours", proto, calls, mode="static", format="qoperator")
    wanted = outputs_of(ws.inputs["model"], calls[0])["y"]
    assert np.abs(wanted - y).max() > 0.5 * np.abs(wanted).max()
    assert sqnr(ws, calls[0]) > 30


def test_bodies_in_bodies_are_quantized_each_on_what_it_sees(tmp_path: Path) -> None:
    calls = floats("x", (1, 8), (4, 8))
    facts, ws = quantize(tmp_path, nested(), calls, mode="static")
    assert facts.quantized["MatMul"] == 2
    assert {kind for kind, _ in weights_of(delivered(ws))} == {"INT8"}
    for call in calls:
        wanted, got = outputs_of(ws.inputs["model"], call)["y"], outputs_of(ws.out / "model", call)["y"]
        assert np.abs(wanted - got).max() < 0.1 * np.abs(wanted).max()


def test_a_branch_that_no_data_goes_through_stays_in_float_and_is_named(tmp_path: Path) -> None:
    calls = [call for call in both() if call["flag"]]
    facts, ws = quantize(tmp_path, branches(), calls, mode="static")
    assert (facts.quantized, facts.kept) == ({"MatMul": 1}, {"MatMul": 1})
    (warning,) = ws.warnings
    assert warning.code == "uncalibrated-branch"
    assert "if/else_branch" in warning.message
    assert "then_branch" not in warning.message
    assert [(left.nodes, left.bytes) for left in facts.left] == [(1, 8 * 4 * 4)]
    other = {**calls[0], "flag": np.array(False)}
    for name, wanted in outputs_of(ws.inputs["model"], other).items():
        np.testing.assert_array_equal(outputs_of(ws.out / "model", other)[name], wanted)


@pytest.mark.parametrize("calibrate", ["entropy", "percentile", "distribution"])
def test_bodies_are_calibrated_by_every_method(tmp_path: Path, calibrate: str) -> None:
    calls = floats("x", *[(4, 8)] * 6)
    facts, ws = quantize(tmp_path, loop(), calls, mode="static", calibrate=calibrate, per_channel=True)
    assert facts.quantized == {"MatMul": 1}
    assert min(sqnr(ws, call) for call in calls) > 15


def test_nodes_in_branches_are_excluded_by_name(tmp_path: Path) -> None:
    facts, _ = quantize(tmp_path, branches(), both(), mode="static", exclude=("then/MatMul",))
    assert (facts.quantized, facts.kept) == ({"MatMul": 1}, {"MatMul": 1})
    assert [left.reason for left in facts.left] == ["excluded"]


def apart() -> onnx.ModelProto:
    """Branches that read a weight each, which nothing else does."""
    arms = [
        graph(arm, [node("MatMul", ["x", name], [f"{arm}_out"], name=f"{arm}/MatMul")], f"{arm}_out")
        for arm, name in (("then", "w"), ("else", "u"))
    ]
    return model(
        [
            node("If", ["flag"], ["i"], name="if", then_branch=arms[0], else_branch=arms[1]),
            node("MatMul", ["i", "v"], ["y"], name="head/MatMul"),
        ],
        [weight("w", 8, 8), weight("u", 8, 8), weight("v", 8, 4)],
        inputs=[value("x", "batch", 8), value("flag", dtype=BOOL)],
        outputs=[value("y", "batch", 4)],
    )


@pytest.mark.parametrize(
    ("make", "calls", "mode", "exclude", "names"),
    [
        (apart, both(), "static", (), ["u", "v", "w"]),
        (apart, both(), "static", ("then/MatMul",), ["u", "v", "w"]),
        (apart, both(), "float16", ("then/MatMul",), ["u", "v", "w"]),
        (decoder, both(64), "static", (), ["v", "w"]),
        (decoder, both(64), "static", ("then/MatMul",), ["v", "w"]),
        (decoder, both(64), "static", ("*/MatMul",), ["v", "w"]),
        (decoder, both(64), "float16", ("then/MatMul",), ["v", "w", "w_2"]),  # in float16 it is `w`: these are two
        (nested, floats("x", (4, 8)), "static", (), ["u", "w"]),
        (nested, floats("x", (4, 8)), "static", ("even/MatMul",), ["u", "w"]),
    ],
)
def test_weights_of_bodies_are_called_what_they_were(
    tmp_path: Path, make: Any, calls: list[Call], mode: str, exclude: tuple[str, ...], names: list[str]
) -> None:
    _, ws = quantize(tmp_path, make(), calls, mode=mode, exclude=exclude)
    delivered_names = {
        name.removesuffix("_quantized")
        for body in delivered(ws).graphs()
        for name, one in body.initializers.items()
        if one.const_value is not None and len(one.const_value.shape) > 1
    }
    assert sorted(delivered_names) == names


def below(found: Visits, *path: str) -> Visits:
    for name in path:
        found = next(visits for body, visits in found.bodies if body.name == name)
    return found


def visited(tmp_path: Path, proto: onnx.ModelProto, calls: list[Call]) -> Visits:
    prepared = ir.from_proto(proto)
    localize(prepared)
    return visit(prepared, calls, tmp_path)


def test_what_a_loop_s_body_is_called_with_is_what_the_runtime_hands_it(tmp_path: Path) -> None:
    (call,) = floats("x", (4, 8))
    found = visited(tmp_path, nested(), [call])
    onnx.save(nested(), tmp_path / "m.onnx")
    states = ort.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"]).run(["states"], call)[0]
    body = below(found, "loop/Loop/body")
    assert [int(seen["i"]) for seen in body.calls] == list(range(len(states))) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(np.stack([seen["state"] for seen in body.calls]), states, rtol=1e-5, atol=1e-6)
    even, odd = (below(body, f"body/If/{name}_branch").calls for name in ("else", "then"))
    np.testing.assert_allclose(np.stack([seen["state"] for seen in even]), states[::2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.stack([seen["state"] for seen in odd]), states[1::2], rtol=1e-5, atol=1e-6)


def test_a_scan_is_walked_along_its_axes_and_directions(tmp_path: Path) -> None:
    body = helper.make_graph(
        [node("Add", ["sum", "row"], ["total"], name="a"), node("Identity", ["sum"], ["seen"], name="s")],
        "body",
        [value("sum", 2), value("row", 2)],
        [value("total", 2), value("seen", 2)],
    )
    attributes = {"num_scan_inputs": 1, "scan_input_axes": [1], "scan_input_directions": [1]}
    proto = model(
        [node("Scan", ["zero", "x"], ["last", "seen_all"], name="scan", body=body, **attributes)],
        [numpy_helper.from_array(np.zeros(2, np.float32), "zero")],
        inputs=[value("x", 2, "steps")],
        outputs=[value("last", 2), value("seen_all", "steps", 2)],
    )
    x = np.array([[1, 2, 4], [10, 20, 40]], np.float32)
    calls = below(visited(tmp_path, proto, [{"x": x}]), "scan/body").calls
    assert [call["row"].tolist() for call in calls] == [[4, 40], [2, 20], [1, 10]]
    assert [call["sum"].tolist() for call in calls] == [[0, 0], [4, 40], [6, 60]]


def test_of_many_iterations_some_are_kept_from_all_over_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_calls, "MOST_CALLS", 3)
    found = visited(tmp_path, nested(last=6), floats("x", (4, 8)))
    assert [int(seen["i"]) for seen in below(found, "loop/Loop/body").calls] == [0, 4]


def test_the_calls_of_all_bodies_of_a_model_share_one_bound_in_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_calls, "MOST_BYTES", 1200)  # a state is 128 bytes: the loop sees 13, and its If as many
    found = visited(tmp_path, nested(last=12), floats("x", (4, 8)))
    body = below(found, "loop/Loop/body")
    bodies = [body, below(body, "body/If/else_branch"), below(body, "body/If/then_branch")]
    sizes = [sum(array.nbytes for call in one.calls for array in call.values()) for one in bodies]
    assert 600 < sum(sizes) <= 1200
    assert [len(one.calls) for one in bodies] == [2, 4, 3]
    assert [int(seen["i"]) for seen in body.calls] == [0, 8]


def test_a_model_that_cannot_be_run_leaves_out_its_bodies_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StageFailure("model-does-not-run", "no kernel")

    monkeypatch.setattr(visiting, "run_call", refuse)
    facts, ws = quantize(tmp_path, decoder(), both(64), mode="static")
    assert facts.quantized["MatMul"] == 2
    (warning,) = ws.warnings
    assert warning.code == "uncalibrated-branch"
    assert warning.message.startswith("if/else_branch, if/then_branch stay in float")
    assert "what it is in cannot be run (no kernel)" in warning.message


def cast(source: str, target: str, dtype: int, name: str) -> onnx.NodeProto:
    return node("Cast", [source], [target], name=name, to=dtype)


def beside_a_loop(state: int, nodes: list[onnx.NodeProto], before: onnx.NodeProto) -> onnx.ModelProto:
    """`decoder`, with a Loop before it whose state has the dtype `state` and whose body holds a weight."""
    typed = [helper.make_tensor_value_info(name, state, None) for name in ("state", "next")]
    body = helper.make_graph(
        [*nodes, node("MatMul", ["f", "u"], ["p"], name="body/MatMul"), node("Identity", ["cond"], ["go"], name="go")],
        "body",
        [value("i", dtype=INT64), value("cond", dtype=BOOL), typed[0]],
        [value("go", dtype=BOOL), typed[1]],
    )
    proto = decoder(8)
    proto.graph.node[0].input[0] = "given"
    around = [
        before,
        node("Loop", ["times", "", "first"], ["last"], name="loop", body=body),
        cast("last", "given", FLOAT, "out"),
    ]
    for number, one in enumerate(around):
        proto.graph.node.insert(number, one)
    proto.graph.initializer.extend([weight("u", 8, 8, scale=0.3), array("times", 2, np.int64)])
    return proto


def narrow_loop() -> onnx.ModelProto:
    """Its state is bfloat16, of which numpy has no arrays."""
    up, down = cast("state", "f", FLOAT, "body/Up"), cast("p", "next", BFLOAT16, "body/Down")
    return beside_a_loop(BFLOAT16, [up, down], cast("x", "first", BFLOAT16, "in"))


def gathering_loop() -> onnx.ModelProto:
    """It reads a sequence of the graph around it, of a type that is written nowhere."""
    at = node("SequenceAt", ["seq", "zero"], ["a"], name="body/At")
    nodes = [at, node("Add", ["a", "state"], ["f"], name="body/Add"), node("Relu", ["p"], ["next"], name="body/Relu")]
    proto = beside_a_loop(FLOAT, nodes, node("Identity", ["x"], ["first"], name="in"))
    proto.graph.node.insert(0, node("SequenceConstruct", ["x"], ["seq"], name="seq"))
    proto.graph.initializer.append(array("zero", 0, np.int64))
    return proto


def failing_loop() -> onnx.ModelProto:
    """It has float32 alone; the session that would run it is made to refuse by the test."""
    nodes = [
        node("Identity", ["state"], ["f"], name="body/Same"),
        node("Relu", ["p"], ["next"], name="body/Relu"),
    ]
    return beside_a_loop(FLOAT, nodes, node("Identity", ["x"], ["first"], name="in"))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (narrow_loop, "'state' goes into it in bfloat16"),
        (gathering_loop, "sequences and the like go into it"),
        (failing_loop, "it cannot be run alone (no kernel for body/Relu)"),
    ],
    ids=["bfloat16", "sequence", "no kernel"],
)
def test_a_body_that_cannot_be_run_alone_is_named_and_all_others_are_quantized(
    tmp_path: Path, make: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = visiting.run_call

    def run_or_refuse(session: ort.InferenceSession, *call: Any) -> Any:
        if make is failing_loop and "state" in {value.name for value in session.get_inputs()}:
            raise StageFailure("model-does-not-run", "no kernel for body/Relu")
        return run(session, *call)

    monkeypatch.setattr(visiting, "run_call", run_or_refuse)
    facts, ws = quantize(tmp_path, make(), both(8), mode="static")
    assert (facts.quantized["MatMul"], facts.kept) == (4, {"MatMul": 1})
    (warning,) = ws.warnings
    assert warning.code == "uncalibrated-branch"
    assert warning.message.startswith("loop/body stays in float")
    assert why in warning.message
    assert [left.bytes for left in facts.left] == [8 * 8 * 4]
    assert min(sqnr(ws, call) for call in both(8)) > 15


@pytest.mark.parametrize(("what", "why"), [("in", "'hb' goes into it in bfloat16"), ("out", "'t' comes out of it in")])
def test_a_branch_with_bfloat16_at_its_edge_fails_the_static_tool_and_ours_names_value_and_dtype(
    tmp_path: Path, what: str, why: str
) -> None:
    """The tool cannot hand over such a value, and says neither which it is nor where."""
    kind = FLOAT if what == "in" else BFLOAT16
    ends = [helper.make_tensor_value_info(name, kind, None) for name in ("t", "e")]
    read = [cast("hb", "up", FLOAT, "then/Up")] if what == "in" else []
    then = [*read, node("MatMul", ["up" if read else "h", "w"], ["t0"], name="then/MatMul"), cast("t0", "t", kind, "t")]
    other = [node("Relu", ["h"], ["e0"], name="else/Relu"), cast("e0", "e", kind, "e")]
    branches = [helper.make_graph(nodes, end.name, [], [end]) for nodes, end in zip((then, other), ends, strict=True)]
    proto = model(
        [
            node("MatMul", ["x", "w"], ["h"], name="fc/MatMul"),
            cast("h", "hb", BFLOAT16, "down"),
            node("If", ["flag"], ["i"], name="if", then_branch=branches[0], else_branch=branches[1]),
            cast("i", "y", FLOAT, "up"),
        ],
        [weight("w", 8, 8)],
        inputs=[value("x", "batch", 8), value("flag", dtype=BOOL)],
        outputs=[value("y", "batch", 8)],
    )
    facts, ws = quantize(tmp_path, proto, both(), mode="static")
    assert (facts.quantized, facts.kept) == ({"MatMul": 1}, {"MatMul": 1})
    (warning,) = ws.warnings
    assert warning.message.startswith("if/then_branch stays in float")
    assert why in warning.message
    assert "`mode: dynamic` needs no ranges" in warning.message
    assert min(sqnr(ws, call) for call in both()) > 15


@pytest.mark.parametrize("calibrate", ["minmax", "percentile"])
def test_a_branch_that_a_sequence_goes_into_stays_in_float_and_that_is_said(tmp_path: Path, calibrate: str) -> None:
    then = graph(
        "then",
        [
            node("SequenceAt", ["seq", "zero"], ["a"], name="then/At"),
            node("MatMul", ["a", "w"], ["t"], name="then/MatMul"),
        ],
        "t",
    )
    other = graph("else", [node("MatMul", ["x", "w"], ["e"], name="else/MatMul")], "e")
    proto = model(
        [
            node("SequenceConstruct", ["x", "x"], ["seq"], name="seq"),
            node("If", ["flag"], ["y"], name="if", then_branch=then, else_branch=other),
        ],
        [weight("w", 8, 8), array("zero", 0, np.int64)],
        inputs=[value("x", "batch", 8), value("flag", dtype=BOOL)],
        outputs=[value("y", "batch", 8)],
    )
    facts, ws = quantize(tmp_path, proto, both(), mode="static", calibrate=calibrate)
    assert facts.quantized == {"MatMul": 1}
    (warning,) = ws.warnings
    assert warning.message.startswith("if/then_branch stays in float")
    assert "sequences and the like go into it" in warning.message


def test_a_sequence_that_a_loop_hands_on_needs_no_identity_which_opset_13_has_not(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("kept", FLOAT, None)
    body = helper.make_graph(
        [
            node("MatMul", ["state", "w"], ["next"], name="body/MatMul"),
            node("Identity", ["cond"], ["go"], name="body/Go"),
        ],
        "body",
        [value("i", dtype=INT64), value("cond", dtype=BOOL), untyped("state"), sequence],
        [value("go", dtype=BOOL), untyped("next"), sequence],
    )
    proto = model(
        [
            node("SequenceConstruct", ["x"], ["first"], name="seq"),
            node("Loop", ["times", "", "x", "first"], ["h", "last"], name="loop", body=body),
            node("SequenceAt", ["last", "zero"], ["same"], name="at"),
            node("Add", ["h", "same"], ["s"], name="add"),
            node("MatMul", ["s", "v"], ["y"], name="fc"),
        ],
        [weight("w", 8, 8), weight("v", 8, 4), array("times", 2, np.int64), array("zero", 0, np.int64)],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 4)],
        opset=13,
    )
    calls = floats("x", (1, 8), (4, 8))
    facts, ws = quantize(tmp_path, proto, calls, mode="static")
    assert facts.quantized["MatMul"] == 1
    assert min(sqnr(ws, call) for call in calls) > 20


def test_what_a_loop_returns_in_a_rank_that_nobody_knows_is_not_taken_for_a_scalar(tmp_path: Path) -> None:
    body = helper.make_graph(
        [node("Add", ["state", "one"], ["next"], name="body/Add"), node("Identity", ["cond"], ["go"], name="body/Go")],
        "body",
        [value("i", dtype=INT64), value("cond", dtype=BOOL), untyped("state")],
        [value("go", dtype=BOOL), untyped("next")],
    )
    proto = decoder()
    proto.graph.node.insert(0, node("Loop", ["times", "", "x"], ["grown"], name="loop", body=body))
    proto.graph.node[1].input[0] = "grown"
    proto.graph.initializer.extend([array("times", 2, np.int64), weight("one", 64)])
    facts, ws = quantize(tmp_path, proto, both(64), mode="static")
    assert facts.quantized["MatMul"] == 4
    assert min(sqnr(ws, call) for call in both(64)) > 20
