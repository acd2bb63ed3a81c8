"""What the bodies of If, Loop and Scan are called with, seen by doing what their nodes do; knows not what it is for.

No session tells what goes on in a body: more outputs of it would have to be outputs of both branches, and of every
iteration with the same shape. So the bodies are models of their own here, which are run with what the graph around
them computes: the branch that the condition takes, and each iteration with the state that the one before it left. What
cannot be run so is passed over, with what is in it; the rest is seen all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.bodies import FIRST_SCAN, Body, cut, expose, holders, set_input_types
from onnxbuild.ir.dtypes import dtype_name, is_beyond_numpy
from onnxbuild.ir.model import MODEL, write_model
from onnxbuild.ort.session import UNOPTIMIZED, beyond_numpy, open_session, run_call
from onnxbuild.stages.kept_calls import Call, KeptCalls


@dataclass(frozen=True)
class Beyond:
    """A value that no session hands over, because numpy does not have its elements."""

    dtype: str


class Visits:
    """A graph that is called, and below it the bodies in it, each with the calls that went through it.

    Calls of tensors alone are kept, and none of the outermost graph; `is_entered` says whether there were any at all,
    `beyond` has the values that went in and that numpy does not have, with their dtype, and `failure` is why the graph
    cannot be run: what is in it sees no more calls then. `model` is prepared, its bodies have constants of their own,
    and it is not changed. Files go below `folder`.
    """

    def __init__(self, model: ir.Model, folder: Path, *, beside: list[KeptCalls] | None = None) -> None:
        is_outermost, beside = beside is None, [] if beside is None else beside
        self.model = model
        self._kept = None if is_outermost else KeptCalls(beside)
        self.bodies = [
            (body, Visits(body.model, folder / f"body-{n}", beside=beside)) for n, body in enumerate(cut(model))
        ]
        self.is_entered = False
        self.beyond: dict[str, str] = {}
        self.failure: StageFailure | None = None
        self._folder = folder
        self._session: ort.InferenceSession | None = None
        self._read = {v.name or "" for node in holders(model.graph) for v in node.inputs if v is not None}

    @property
    def calls(self) -> Sequence[Call]:
        """Return the calls that are kept, in order."""
        return self._kept.calls if self._kept is not None else ()

    def enter(self, call: Mapping[str, Any], *, result: bool = False) -> list[Any] | None:
        """Note a call and those that it leads to below; return the outputs in order where `result` asks for them.

        None where the graph cannot be run on it.
        """
        self.is_entered = True
        beyond = {name: value.dtype for name, value in call.items() if isinstance(value, Beyond)}
        self.beyond.update(beyond)
        if beyond:
            return None
        if self._kept is not None and all(isinstance(array, np.ndarray) for array in call.values()):
            self._kept.note(call)
        if self.failure is not None or not (self.bodies or result):
            return None
        try:
            computed = self._run(call)
        except StageFailure as failure:
            self.failure = failure
            return None
        values = {**self._constants(), **call, **computed}
        for node in holders(self.model.graph):
            self._follow(node, values)
        return [computed[value.name or ""] for value in self.model.graph.outputs]

    def _run(self, call: Mapping[str, Any]) -> dict[str, Any]:
        session = self._open(call)
        beyond = beyond_numpy(session)
        return {**run_call(session, call, beyond), **{name: Beyond(dtype) for name, dtype in beyond.items()}}

    def _constants(self) -> dict[str, Any]:
        found = {name: value.const_value for name, value in self.model.graph.initializers.items() if name in self._read}
        return {name: _array(tensor) for name, tensor in found.items() if tensor is not None}

    def _open(self, call: Mapping[str, Any]) -> ort.InferenceSession:
        if self._session is None:
            watched = self.model.clone()
            set_input_types(watched, [{k: v for k, v in call.items() if isinstance(v, np.ndarray)}], ranks=False)
            expose(watched, {*self._read, *(name for body, _ in self.bodies for name in body.captured)})
            write_model(watched, self._folder)
            self._session = open_session(self._folder / MODEL, UNOPTIMIZED)
        return self._session

    def _follow(self, node: ir.Node, values: Mapping[str, Any]) -> None:
        """Call the bodies of a node as it calls them itself; `values` are those of the graph that it is in."""
        inputs = [values[value.name or ""] if value is not None and value.name else None for value in node.inputs]
        below = {body.attribute: (body, visits) for body, visits in self.bodies if body.holder == node.name}
        if node.op_type == "If":
            body, visits = below["then_branch" if np.all(inputs[0]) else "else_branch"]
            visits.enter(_call(body, (), values))
        elif node.op_type == "Loop":
            _loop(*below["body"], inputs, values)
        elif self.model.opset_imports.get("", FIRST_SCAN) < FIRST_SCAN:
            _, visits = below["body"]
            why = "the Scan of opset 8 has a batch axis of its own"
            visits.failure = StageFailure("model-does-not-run", why, node=node.name)
        else:
            _scan(node, *below["body"], inputs, values)


def visit(model: ir.Model, calls: Iterable[Call], folder: Path) -> Visits:
    """Return the visits that `calls` of `model` lead to."""
    visits = Visits(model, folder)
    for call in calls:
        visits.enter(call)
    return visits


def _loop(body: Body, visits: Visits, inputs: list[Any], values: Mapping[str, Any]) -> None:
    most, condition, *state = inputs
    goes_on, number = condition is None or bool(np.all(condition)), 0
    while goes_on and (most is None or number < int(np.asarray(most).reshape(()))):
        given = [np.array(number, np.int64), np.array(True), *state]
        outputs = visits.enter(_call(body, given, values), result=True)
        if outputs is None:
            return
        goes_on, state = bool(np.all(outputs[0])), outputs[1 : 1 + len(state)]
        number += 1


def _scan(node: ir.Node, body: Body, visits: Visits, inputs: list[Any], values: Mapping[str, Any]) -> None:
    count = node.attributes["num_scan_inputs"].as_int()
    state, rows = inputs[: len(inputs) - count], inputs[len(inputs) - count :]
    if any(isinstance(row, Beyond) for row in rows):
        visits.enter(_call(body, inputs, values))
        return
    axes = _numbers(node, "scan_input_axes", count)
    backwards = _numbers(node, "scan_input_directions", count)
    for number in range(rows[0].shape[axes[0]]):
        places = [array.shape[axis] - 1 - number if back else number
                  for array, axis, back in zip(rows, axes, backwards, strict=True)]  # fmt: skip
        given = [np.take(array, place, axis) for array, place, axis in zip(rows, places, axes, strict=True)]
        outputs = visits.enter(_call(body, [*state, *given], values), result=True)
        if outputs is None:
            return
        state = outputs[: len(state)]


def _numbers(node: ir.Node, name: str, count: int) -> list[int]:
    attribute = node.attributes.get(name)
    return [0] * count if attribute is None else list(attribute.as_ints())


def _call(body: Body, given: Iterable[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a body is fed: its own inputs in order, and what it reads from around it."""
    return {**dict(zip(body.formal, given, strict=True)), **{name: values[name] for name in body.captured}}


def _array(tensor: ir.TensorProtocol) -> Any:
    return Beyond(dtype_name(tensor.dtype)) if is_beyond_numpy(tensor.dtype) else tensor.numpy()
