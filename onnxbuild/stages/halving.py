"""Converting one float model to float16, what would overflow held in float32; knows no recipe."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec
import onnx_ir as ir

from onnxbuild.base.diagnostics import Remark, StageFailure
from onnxbuild.data.calls import Calls
from onnxbuild.ir.halves import bypass_casts, has_branches, nodes_around
from onnxbuild.ir.model import MODEL, write_model
from onnxbuild.ir.quantized import overflowing
from onnxbuild.ort import float16
from onnxbuild.ort.ranges import Peak, measure_peaks
from onnxbuild.ort.session import Call

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


def halve(
    model: ir.Model, file: Path, calls: Calls | None, scratch: Path, *, keep_io: bool, exclude: Collection[str]
) -> Halved:
    """Convert `model`, which `file` holds, and check on `calls` that nothing became infinite that was not.

    Raises StageFailure (`float16-overflow`) where values beyond the range cannot be held in float32.
    """
    sample = [calls[number] for number in range(min(len(calls), CALLS))] if calls is not None else []
    before = measure_peaks(file, sample)
    large = {name for name, peak in before.items() if peak.largest > SAFE}
    weights = overflowing(model)
    held = _held(model, {*large, *weights}, before, keep_io=keep_io)
    proto = float16.convert(file, keep_io, [*exclude, *held], scratch)
    converted = ir.from_proto(proto)
    bypass_casts(converted)
    converted.graph.sort()
    _check(converted, sample, before, scratch / "halved")
    return Halved(converted, tuple(held), tuple(_warnings(held, large, weights, before, scanned=bool(sample))))


def _held(model: ir.Model, tensors: Collection[str], peaks: dict[str, Peak], *, keep_io: bool) -> list[str]:
    """Return the names of the nodes around `tensors`; raises StageFailure where one cannot stay float32."""
    delivered = [value.name for value in model.graph.outputs if value.name in tensors]
    if delivered and not keep_io:
        reached = peaks[delivered[0] or ""].largest
        raise StageFailure(
            "float16-overflow",
            f"output '{delivered[0]}' reaches {reached:.4g}, and float16 ends at {LARGEST:.0f}",
            hint="write `keep_io: true`",
            tool=float16.TOOL,
        )
    around = nodes_around(model, tensors)
    for node in around:
        if has_branches(node):
            raise StageFailure(
                "float16-overflow",
                f"values beyond float16's {LARGEST:.0f} go into or out of a branch, which cannot stay float32 alone",
                hint="take another mode, or scale the values down in the model",
                tool=float16.TOOL,
                node=node.name,
            )
    return [node.name or "" for node in around]


def _check(model: ir.Model, sample: Sequence[Call], before: dict[str, Peak], folder: Path) -> None:
    """Raise StageFailure for the first tensor that is infinite or NaN in float16 and was not in float32."""
    if not sample:
        return
    write_model(model, folder)
    all_finite = all(peak.is_finite for peak in before.values())
    for name, peak in measure_peaks(folder / MODEL, sample).items():
        was_finite = before[name].is_finite if name in before else all_finite
        if not peak.is_finite and was_finite:
            raise StageFailure(
                "float16-overflow",
                f"tensor '{name}' overflows in float16 although its values were within range in float32",
                hint="`exclude` the nodes around it",
                tool=float16.TOOL,
            )


def _warnings(
    held: Sequence[str], large: Collection[str], weights: Sequence[str], peaks: dict[str, Peak], *, scanned: bool
) -> list[Remark]:
    found = []
    if held:
        what = [f"weight '{name}' holds values beyond it" for name in weights[:1]]
        largest = max(large, key=lambda name: peaks[name].largest, default=None)
        what += [
            f"tensor '{name}' reaches {peaks[name].largest:.4g}" for name in ([largest] if largest is not None else [])
        ]
        more = f" and {len(held) - SHOWN} more" if len(held) > SHOWN else ""
        reason = f"float16 ends at {LARGEST:.0f}, and {' and '.join(what)}"
        message = f"{reason}: kept in float32 are {', '.join(held[:SHOWN])}{more}"
        found.append(Remark("float16-overflow", message))
    if not scanned:
        message = "there is no data to tell which values float16 cannot hold: only weights were looked at"
        found.append(Remark("float16-unscanned", message))
    return found
