"""Static quantisation of a model and of the bodies in it, each as a model of its own; knows no patterns.

ONNX Runtime's static quantiser passes over what If, Loop and Scan hold, and its calibration cannot look into them.
So a body is cut out with what it reads from around it as inputs, calibrated on the calls that the calibration data
leads to (`visits`), quantised like the main graph, and put back: what goes in and out of it stays float. A body that no
call goes through has no ranges, and stays in float.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.calls import Call
from onnxbuild.ir.bodies import (
    Body,
    captured,
    conceal,
    expose,
    has_weights,
    localize,
    put_back,
    restore_names,
    set_input_types,
    share,
)
from onnxbuild.ir.dtypes import is_beyond_numpy
from onnxbuild.ir.model import MODEL, write_model
from onnxbuild.ir.passes.onnxoptimizer import weight_bytes
from onnxbuild.ir.preparation import has_foreign_operators, set_types
from onnxbuild.ir.walk import nodes
from onnxbuild.ort.inference import infer_types
from onnxbuild.ort.quantizer import StaticQuantizer
from onnxbuild.ort.session import UNOPTIMIZED, beyond_numpy, open_session, run_call
from onnxbuild.recipe.types import Quantization
from onnxbuild.stages.visits import Visits, visit

UNTOLD = "whose values ONNX Runtime hands to nobody (cast it to float32 outside; `mode: dynamic` needs no ranges)"
LARGE = 1_000_000_000
"""Bytes of weights from which tools are told to write them to a file of their own."""


class Static:
    """One prepared float model, calibrated once and quantised as often as is wanted; files go below `scratch`.

    `missed` has the bodies that hold weights and cannot be calibrated, by what is said of them; `untouched` the names
    of the nodes in them.
    """

    def __init__(self, model: ir.Model, calls: Sequence[Call], scratch: Path) -> None:
        self.missed: dict[str, list[str]] = {}
        self.untouched: set[str] = set()
        names = localize(model)
        visits = Visits(model, scratch / "visits")
        if any(has_weights(body.model) for body, _ in visits.bodies):
            visits = visit(model, calls, scratch / "visits")
        self._graph = _Graph(model, visits, calls, scratch / "main", self, names)

    def quantize(self, quantization: Quantization, exclude: Sequence[str], out: Path) -> None:
        """Write the quantised model to the file `out`; `exclude` are node names that stay in float."""
        self._graph.quantize(quantization, exclude, out)

    def miss(self, body: Body, why: str) -> None:
        """Note a body that stays in float."""
        self.missed.setdefault(why, []).append(body.name)
        self.untouched |= {node.name for node in nodes(body.model) if node.name}


class _Graph:
    """One graph as a model in `file`, with the bodies in it that are to be quantised.

    `names` are what copies of constants are to be called again in the end, for the outermost graph.
    """

    def __init__(
        self,
        model: ir.Model,
        visits: Visits,
        calls: Sequence[Call],
        scratch: Path,
        whole: Static,
        names: Mapping[str, str],
    ) -> None:
        self._names = names
        self._bodies = [
            (body, _inner(body, below, visits.failure, scratch / f"body-{number}", whole))
            for number, (body, below) in enumerate(visits.bodies)
        ]
        inputs = [value.name or "" for value in model.graph.inputs]
        model = model.clone()
        exposed = expose(model, captured((body for body, _ in visits.bodies), model.graph))
        self.file = lay_out(model, scratch)
        dtypes = {value.name: value.dtype for value in model.graph.outputs}
        beyond = [name for name in exposed if (dtype := dtypes[name]) is not None and is_beyond_numpy(dtype)]
        if beyond:  # nor does the tool touch these
            conceal(model, beyond)
            self.file = lay_out(model, scratch)
        self._exposed = [name for name in exposed if name not in beyond]
        self._tool = StaticQuantizer(self.file, calls, inputs, large=is_large(model))

    def quantize(self, quantization: Quantization, exclude: Sequence[str], out: Path) -> None:
        """Write the quantised model to `out`."""
        if not self._bodies:
            self._tool.quantize(quantization, exclude, out)
            return
        own = out.parent / "main" / MODEL
        own.parent.mkdir()
        self._tool.quantize(quantization, exclude, own)
        model = ir.load(own)
        for number, (body, graph) in enumerate(self._bodies):  # all: the tool puts nodes before what bodies read
            changed = body.model.clone()
            if graph is not None:
                file = out.parent / f"body-{number}" / MODEL
                file.parent.mkdir()
                graph.quantize(quantization, exclude, file)
                changed = ir.load(file)
            put_back(model, body, changed)
        conceal(model, self._exposed)
        share(model)
        restore_names(model, self._names)
        model.graph.sort()
        write_model(NameFixPass()(model).model, out.parent)


def _inner(body: Body, visits: Visits, around: StageFailure | None, scratch: Path, whole: Static) -> _Graph | None:
    """Return a body to be quantised; None for one that stays in float, without weights or without calls.

    `around` is why the graph that it is in cannot be run.
    """
    if not has_weights(body.model):
        return None
    why, graph = _why_no_calls(visits, around), None
    if not why:
        model = body.model.clone()
        set_input_types(model, visits.calls)
        try:
            graph = _Graph(model, visits, visits.calls, scratch, whole, {})
            why = _why_not_alone(graph.file, visits.calls[0])
        except StageFailure as failure:
            why = _alone(failure)
    if why:
        whole.miss(body, why)
        return None
    return graph


def _why_no_calls(visits: Visits, around: StageFailure | None) -> str:
    """Return why a body cannot be calibrated by the calls that it has seen, or nothing."""
    if around is not None:
        return f"what it is in cannot be run ({around.message})"
    for name, dtype in visits.beyond.items():
        return f"'{name}' goes into it in {dtype}, {UNTOLD}"
    if visits.is_entered and not visits.calls:
        return "sequences and the like go into it"
    if visits.failure is not None:
        return _alone(visits.failure)
    return "" if visits.calls else "no calibration data goes through it"


def _why_not_alone(file: Path, call: Call) -> str:
    """Return why the calibrators could not run a body on calls of it, or nothing."""
    try:
        session = open_session(file, UNOPTIMIZED)
        for name, dtype in beyond_numpy(session).items():
            return f"'{name}' comes out of it in {dtype}, {UNTOLD}"
        run_call(session, call)
    except StageFailure as failure:
        return _alone(failure)
    return ""


def _alone(failure: StageFailure) -> str:
    return f"it cannot be run alone ({failure.message})"


def lay_out(model: ir.Model, scratch: Path) -> Path:
    """Write the prepared model where the tools can write beside it, and return its file.

    The tools pass over tensors whose type they do not know, or raise; of fused operators, and of what bodies make,
    only the runtime knows it.
    """
    folder = scratch / "prepared"
    write_model(model, folder)
    if has_foreign_operators(model) or any(value.type is None for value in model.graph.outputs):
        set_types(model, infer_types(folder / MODEL))
        write_model(model, folder)
    return folder / MODEL


def is_large(model: ir.Model) -> bool:
    """Say whether the tools shall keep a model's weights in a file of their own."""
    return weight_bytes(model) > LARGE
