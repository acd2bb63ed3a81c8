"""Converting one float model to float16, what would overflow held in float32; knows no recipe.

What If, Loop and Scan hold is converted with the rest. But a body with values beyond float16's range, or with a node
around which the converter has to cast, is converted as a model of its own, between casts: the converter would put
those of its nodes into the main graph.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass

from onnxbuild.base.diagnostics import Remark, StageFailure
from onnxbuild.data.calls import Calls
from onnxbuild.ir.bodies import Body, has_weights, holders, localize, put_back, restore_names, set_input_types, share
from onnxbuild.ir.halves import bypass_casts, in_float, nodes_around
from onnxbuild.ir.model import MODEL, write_model
from onnxbuild.ir.quantized import overflowing
from onnxbuild.ir.walk import nodes
from onnxbuild.ort import float16
from onnxbuild.ort.inference import infer_types
from onnxbuild.ort.ranges import Peak, measure_peaks
from onnxbuild.ort.session import Call
from onnxbuild.stages.visits import Visits, visit

LARGEST = 65504.0
SAFE = LARGEST / 2
"""The largest value on the calls seen that is trusted to float16: other data goes further than a sample."""
CALLS = 32
"""Calls on which ranges are measured, at most."""
SHOWN = 5


class Halved(msgspec.Struct, frozen=True):
    """The converted model, and the nodes that stay in float32 because float16 could not hold their values."""

    model: ir.Model
    held: tuple[str, ...]
    warnings: tuple[Remark, ...]


@dataclass(frozen=True)
class _Scanned:
    """A graph as a model in a file, the peaks of its tensors, whether any call went through it, and its bodies.

    `names` are what constants of the bodies were called, of the outermost graph.
    """

    model: ir.Model
    file: Path
    peaks: dict[str, Peak]
    is_seen: bool
    bodies: list[tuple[Body, _Scanned]]
    names: Mapping[str, str] = field(default_factory=dict)

    def unseen(self) -> Iterator[str]:
        """Yield the names of the bodies with weights that no call went through."""
        for body, below in self.bodies:
            if not below.is_seen and has_weights(body.model):
                yield body.name
            yield from below.unseen()

    def large(self) -> set[str]:
        """Return the tensors that become larger than is safe."""
        return {name for name, peak in self.peaks.items() if peak.largest > SAFE}


def halve(
    model: ir.Model, file: Path, calls: Calls | None, scratch: Path, *, keep_io: bool, exclude: Collection[str]
) -> Halved:
    """Convert `model`, which `file` holds, and check on `calls` that nothing became infinite that was not.

    Raises StageFailure (`float16-overflow`) where values beyond the range cannot be held in float32.
    """
    sample = [calls[number] for number in range(min(len(calls), CALLS))] if calls is not None else []
    scanned = _scan(model, file, sample, scratch / "visits")
    converter = _Converter(exclude, scratch)
    converted = converter.convert(scanned, keep_io=keep_io)
    restore_names(converted, scanned.names)
    if sample:
        write_model(converted, scratch / "halved")
        after = _scan(converted, scratch / "halved" / MODEL, sample, scratch / "visits-again")
        _check(scanned, after)
    return Halved(converted, tuple(converter.held), tuple(_warnings(converter, scanned, is_scanned=bool(sample))))


def _scan(model: ir.Model, file: Path, sample: Sequence[Call], folder: Path) -> _Scanned:
    """Measure the graph in `file` and what it holds; bodies that cannot be run alone count as not seen."""
    if not holders(model.graph):
        return _measure(model, file, sample, None, folder)
    whole = model.clone()
    names = localize(whole)
    return replace(_measure(model, file, sample, visit(whole, sample, folder), folder), names=names)


def _measure(model: ir.Model, file: Path, sample: Sequence[Call], visits: Visits | None, folder: Path) -> _Scanned:
    peaks = measure_peaks(file, sample) if sample else {}
    bodies = visits.bodies if visits is not None else []
    known = {name: ir.DataType(dtype) for name, (dtype, _) in (infer_types(file) if bodies else {}).items()}
    known.update((value.name or "", value.dtype) for value in model.graph.inputs if value.dtype is not None)
    scanned = []
    for number, (body, below) in enumerate(bodies):
        typed = body.model.clone()
        for value in typed.graph.inputs:
            if value.type is None and value.name in known:
                value.type = ir.TensorType(known[value.name])
        if below.calls:
            set_input_types(typed, below.calls)
        inner = folder / f"body-{number}" / "whole"
        write_model(typed, inner)
        try:
            scanned.append((body, _measure(typed, inner / MODEL, below.calls, below, inner.parent)))
        except StageFailure:  # the runtime does not take it alone, as where it is not known what goes in
            scanned.append((body, _Scanned(typed, inner / MODEL, {}, is_seen=False, bodies=[])))
    return _Scanned(model, file, peaks, bool(sample), scanned)


class _Converter:
    """Converts graphs, and notes what could not be: the nodes held, tensors with their peak, and weights."""

    def __init__(self, exclude: Collection[str], scratch: Path) -> None:
        self._exclude, self._scratch = {*exclude}, scratch
        self._special = float16.special_op_types()
        self.held: list[str] = []
        self.large: dict[str, float] = {}
        self.weights: list[str] = []

    def convert(self, graph: _Scanned, *, keep_io: bool) -> ir.Model:
        """Return the graph in float16, with what cannot be in float32."""
        large, weights = graph.large(), overflowing(graph.model.graph)
        held = _held(graph, {*large, *weights}, keep_io=keep_io)
        self.large.update((name, graph.peaks[name].largest) for name in large)
        self.weights += weights
        apart = {body.holder for body, below in graph.bodies if body.holder in held or self._is_special(below)}
        self.held += [name for name in held if name not in apart]
        proto = float16.convert(graph.file, keep_io, sorted({*self._exclude, *held, *apart}), self._scratch)
        converted: ir.Model = ir.from_proto(proto)
        converted.graph.sort()
        for body, below in graph.bodies:
            if body.holder in apart:
                self._put(converted, body, below)
        if apart:
            share(converted)
            NameFixPass()(converted)
        bypass_casts(converted)
        converted.graph.sort()
        return converted

    def _put(self, converted: ir.Model, body: Body, below: _Scanned) -> None:
        """Put a body that was converted apart into the converted model, and let it read float32 there."""
        inputs = {value.name or "": value.dtype for value in below.model.graph.inputs}
        floats = [name for name in body.captured if inputs[name] == ir.DataType.FLOAT]
        can_convert = None not in inputs.values()
        changed = self.convert(below, keep_io=True) if can_convert else body.model.clone()
        put_back(converted, body, changed, in_float(converted, floats))

    def _is_special(self, graph: _Scanned) -> bool:
        """Say whether the converter would have to cast around a node in the graph, or values are too large there."""
        return (
            any(node.op_type in self._special or node.name in self._exclude for node in nodes(graph.model))
            or bool(graph.large() or overflowing(graph.model.graph))
            or any(self._is_special(below) for _, below in graph.bodies)
        )


def _held(graph: _Scanned, tensors: Collection[str], *, keep_io: bool) -> list[str]:
    """Return the names of the nodes around `tensors`; raises StageFailure where one cannot stay float32."""
    delivered = [value.name for value in graph.model.graph.outputs if value.name in tensors]
    if delivered and not keep_io:
        peak = graph.peaks.get(delivered[0] or "")
        reached = f"reaches {peak.largest:.4g}" if peak is not None else "is a weight that reaches beyond"
        raise StageFailure(
            "float16-overflow",
            f"output '{delivered[0]}' {reached}, and float16 ends at {LARGEST:.0f}",
            hint="write `keep_io: true`",
            tool=float16.TOOL,
        )
    return [node.name or "" for node in nodes_around(graph.model, tensors)]


def _check(before: _Scanned, after: _Scanned) -> None:
    """Raise StageFailure for the first tensor that is infinite or NaN in float16 and was not in float32."""
    all_finite = all(peak.is_finite for peak in before.peaks.values())
    for name, peak in after.peaks.items():
        was_finite = before.peaks[name].is_finite if name in before.peaks else all_finite
        if not peak.is_finite and was_finite:
            raise StageFailure(
                "float16-overflow",
                f"tensor '{name}' overflows in float16 although its values were within range in float32",
                hint="`exclude` the nodes around it",
                tool=float16.TOOL,
            )
    found = {body.name: below for body, below in after.bodies}
    for body, below in before.bodies:
        if body.name in found:
            _check(below, found[body.name])


def _warnings(converter: _Converter, scanned: _Scanned, *, is_scanned: bool) -> list[Remark]:
    found = []
    if converter.held:
        held = converter.held
        what = [f"weight '{name}' holds values beyond it" for name in converter.weights[:1]]
        largest = max(converter.large, key=lambda name: converter.large[name], default=None)
        what += [f"tensor '{name}' reaches {converter.large[name]:.4g}" for name in ([largest] if largest else [])]
        more = f" and {len(held) - SHOWN} more" if len(held) > SHOWN else ""
        reason = f"float16 ends at {LARGEST:.0f}, and {' and '.join(what)}"
        message = f"{reason}: kept in float32 are {', '.join(held[:SHOWN])}{more}"
        found.append(Remark("float16-overflow", message))
    if not is_scanned:
        message = "there is no data to tell which values float16 cannot hold: only weights were looked at"
        found.append(Remark("float16-unscanned", message))
    elif unseen := list(scanned.unseen()):
        message = f"no data that could be measured goes through {', '.join(unseen)}: only weights were looked at there"
        found.append(Remark("float16-unscanned", message))
    return found
