"""Constants that loops carry as state are taken out of it where that changes nothing, and left where it would."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import parser

from onnxbuild.ir.invariants import free_invariants

HEAD = '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x, int64 n) => '
CARRIED = """(float[2] y) <float[2] w = {1, 2}, bool t = {1}> {
    y, last = Loop (n, t, x, w) <body = b (int64 i, bool c, float[2] a, float[2] v)
        => (bool go, float[2] next, float[2] same) { go = Identity(c) next = Add(a, v) same = Identity(v) }>
}"""
SHADOWED = CARRIED.replace("float[2] a,", "float[2] w,").replace("Add(a, v)", "Add(w, v)")
"""The constant has the name of another state inside."""
ALSO_SCANNED = """(float[2] y, float[k, 2] s) <float[2] w = {1, 2}, bool t = {1}> {
    y, last, s = Loop (n, t, x, w) <body = b (int64 i, bool c, float[2] a, float[2] v)
        => (bool go, float[2] next, float[2] v, float[2] v) { go = Identity(c) next = Add(a, v) }>
}"""
ALSO_ANOTHER_STATE = """(float[2] y, float[2] z) <float[2] w = {1, 2}, float[2] u = {3, 4}, bool t = {1}> {
    y, z, last = Loop (n, t, x, u, w) <body = b (int64 i, bool c, float[2] a, float[2] d, float[2] v)
        => (bool go, float[2] next, float[2] v, float[2] same) { go = Identity(c) next = Add(a, d) same = Identity(v) }>
}"""
NOTHING_ELSE = """(float[2] y) <float[2] w = {1, 2}, bool t = {1}> {
    last = Loop (n, t, w) <body = b (int64 i, bool c, float[2] v)
        => (bool go, float[2] same) { go = Identity(c) same = Identity(v) }>
    y = Add(x, last)
}"""
SCAN_8 = """<ir_version: 4, opset_import: ["" : 8]> g (float[2, 3, 2] x, float[2, 2] z)
=> (float[2, 2] y, float[2, 3, 2] s) <float[2, 2] w = {1, 2, 3, 4}> {
    last, y0, s = Scan <num_scan_inputs = 1, body = b (float[2] v, float[2] a, float[2] e)
        => (float[2] same, float[2] next, float[2] row)
        { m = Mul(a, v) row = Add(m, e) next = Identity(a) same = Identity(v) }> ("", w, z, x)
    y = Identity(y0)
}"""


@pytest.mark.parametrize(
    ("text", "freed"),
    [
        (HEAD + CARRIED, 1),
        (HEAD + SHADOWED, 1),
        (HEAD + ALSO_SCANNED, 0),
        (HEAD + ALSO_ANOTHER_STATE, 0),
        (HEAD + NOTHING_ELSE, 0),
        (SCAN_8, 0),
    ],
    ids=["carried", "shadowed", "also scanned", "also another state", "nothing else", "scan of opset 8"],
)
def test_what_is_freed_changes_no_result(text: str, freed: int) -> None:
    proto = parser.parse_model(text)
    loop = {"x": np.array([5, 6], np.float32), "n": np.array(3)}
    scan = {"x": np.arange(12, dtype=np.float32).reshape(2, 3, 2), "z": np.ones((2, 2), np.float32)}
    call = scan if text is SCAN_8 else loop
    model = ir.from_proto(proto)
    assert free_invariants(model) == freed
    for before, after in zip(outputs(proto, call), outputs(ir.to_proto(model), call), strict=True):
        np.testing.assert_array_equal(after, before)


def outputs(proto: onnx.ModelProto, call: dict[str, np.ndarray]) -> list[np.ndarray]:
    return ort.InferenceSession(proto.SerializeToString()).run(None, call)
