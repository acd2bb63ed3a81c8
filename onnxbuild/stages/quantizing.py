"""Quantising one float model with one choice of settings and of nodes kept in float; knows no recipe and no search."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import onnx_ir as ir

from onnxbuild.base.diagnostics import Remark, StageFailure
from onnxbuild.base.patterns import is_any_match, require_matches
from onnxbuild.base.units import format_size
from onnxbuild.data.calls import Calls
from onnxbuild.ir.layers import layers
from onnxbuild.ir.leftover import Leftover, float_weights
from onnxbuild.ir.model import MODEL, read_model
from onnxbuild.ir.passes.onnxoptimizer import weight_bytes
from onnxbuild.ir.preparation import prepare, split_gemms
from onnxbuild.ir.quantized import beside_quantized, count_float16, count_integer, find_quantized
from onnxbuild.ir.walk import nodes
from onnxbuild.ort import float16, int4, quantizer
from onnxbuild.recipe.types import Quantization
from onnxbuild.stages.delivery import write_changed
from onnxbuild.stages.halving import halve
from onnxbuild.stages.quantize import Left
from onnxbuild.stages.static import Static, is_large, lay_out

EXCLUDED, NOT_ASKED = "excluded", "not of the operator types asked for"
UNSEEN = "their branch or loop could not be calibrated"
WORTH_SAYING = 0.05
"""The share of a model's weights from which it is said that they stay in float."""

TOOLS = {
    "dynamic": quantizer.DYNAMIC,
    "static": quantizer.STATIC,
    "float16": float16.TOOL,
    "int4": int4.TOOL,
}


class Quantized(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a model: its folder (the source's own when nothing changed) and what was quantised.

    `quantized` and `kept` count nodes by operator type; `excluded` are the nodes that were to stay in float, `held`
    those that float16 could not hold. `left` are weights that stay in float.
    """

    folder: Path
    quantized: dict[str, int] = {}
    kept: dict[str, int] = {}
    excluded: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    left: tuple[Left, ...] = ()
    warnings: tuple[Remark, ...] = ()


class _Made(msgspec.Struct, frozen=True):
    """What a mode made: the model and its nodes, quantised and kept, counted by operator type."""

    model: ir.Model
    quantized: dict[str, int]
    kept: dict[str, int]
    warnings: tuple[Remark, ...] = ()
    held: tuple[str, ...] = ()


def quantize_model(
    source: Path, quantization: Quantization, keep: Iterable[str], calls: Calls | None, scratch: Path
) -> Quantized:
    """Quantise the model in `source` into a folder below `scratch`, which is made and must not be there yet.

    The nodes that `keep` names stay in float, besides those of `quantization.exclude`. `calls` calibrate static
    quantisation, and tell float16 how large values become. A model in which nothing could be quantised is no failure:
    it comes with the warning `no-effect`.
    """
    return Requantizer(source, calls, scratch).quantize(quantization, keep)


class Requantizer:
    """The float model in `source`, to be quantised with one choice after another, each in a folder below `scratch`.

    Static quantisation prepares and calibrates once and reuses the ranges of the tensors. With `skips_quantized` a
    model that is quantised in part is no failure: those nodes and their neighbours stay as they are.
    """

    def __init__(self, source: Path, calls: Calls | None, scratch: Path) -> None:
        self._source, self._calls, self._scratch = source, calls, scratch
        self._static: Static | None = None
        self._number = 0
        self.skips_quantized = False
        scratch.mkdir(parents=True)

    def quantize(self, quantization: Quantization, keep: Iterable[str]) -> Quantized:
        """Quantise as `quantize_model` does."""
        model, excluded = self._begin(quantization, keep)
        scratch = self._folder()
        weights = weight_bytes(model)
        made = self._quantize(model, quantization, excluded, scratch)
        left = _left(made.model, quantization, excluded, self._static)
        if not made.quantized:
            warnings = (*made.warnings, Remark("no-effect", _why_nothing(quantization, made.kept, left)))
            return Quantized(
                folder=self._source, kept=made.kept, excluded=tuple(excluded), left=left, warnings=warnings
            )
        check_io = quantization.mode != "float16" or quantization.keep_io
        folder = scratch / "candidate"
        write_changed(made.model, self._source, folder, TOOLS[quantization.mode], keep_dtypes=check_io)
        return Quantized(
            folder=folder,
            quantized=made.quantized,
            kept=made.kept,
            excluded=tuple(excluded),
            held=made.held,
            left=left,
            warnings=(*made.warnings, *_remarks(left, weights)),
        )

    def draft(self, quantization: Quantization, keep: Iterable[str]) -> Path:
        """Return a folder with a model that computes what `quantize` would deliver, to be measured and thrown away.

        Of static quantisation it is the tool's own file, neither checked nor made canonical.
        """
        if quantization.mode != "static":
            return self.quantize(quantization, keep).folder
        model, excluded = self._begin(quantization, keep)
        return self._quantize_static(model, quantization, excluded, self._folder()).parent

    def quantizable(self, quantization: Quantization) -> list[str]:
        """Return the names of the nodes that the mode may change, in the graph's order."""
        model, excluded = self._begin(quantization, ())
        known, left_out = _op_types(quantization), {*excluded}
        return [
            node.name
            for node in nodes(model)
            if node.name and node.name not in left_out and (known is None or node.op_type in known)
        ]

    def layers(self, quantization: Quantization) -> dict[str, tuple[str, ...]]:
        """Return the nodes of each layer that the mode can quantise and the recipe does not exclude, by layer."""
        model, excluded = self._begin(quantization, ())
        weighted = quantization.mode in ("dynamic", "int4")
        found = layers(model, _op_types(quantization), weighted=weighted)
        return {name: nodes for name, nodes in found.items() if not set(nodes) <= {*excluded}}

    def _folder(self) -> Path:
        self._number += 1
        folder = self._scratch / str(self._number)
        folder.mkdir()
        return folder

    def _begin(self, quantization: Quantization, keep: Iterable[str]) -> tuple[ir.Model, list[str]]:
        """Return the model as the tools can read it, and the names of all nodes that stay in float."""
        model = read_model(self._source)
        if not self.skips_quantized:
            _require_float(model)
        _require_opset(model, quantization)
        model = prepare(model)
        kept = {*_excluded(model, quantization.exclude), *keep}
        return model, sorted(kept | beside_quantized(model) if self.skips_quantized else kept)

    def _quantize(self, model: ir.Model, quantization: Quantization, excluded: list[str], scratch: Path) -> _Made:
        _require_op_types(quantization)
        if not _has_any(model, quantization):
            return _Made(model, {}, _kept(model, quantization))
        match quantization.mode:
            case "dynamic":
                return _dynamic(model, quantization, excluded, scratch)
            case "static":
                made = _counted(self._quantize_static(model, quantization, excluded, scratch), quantization.op_types)
                return msgspec.structs.replace(made, warnings=tuple(_unseen(self._static)))
            case "float16":
                return _float16(model, quantization, excluded, self._calls, scratch)
            case "int4":
                return _int4(model, quantization, excluded, scratch)
            case other:
                raise AssertionError(f"unknown quantisation mode {other}")

    def _quantize_static(self, model: ir.Model, quantization: Quantization, excluded: list[str], scratch: Path) -> Path:
        if not self._calls:
            raise StageFailure("no-calibration-data", "the calibration data has no calls")
        if self._static is None:
            self._static = Static(model, self._calls, self._scratch)
        out = scratch / "quantized" / MODEL
        out.parent.mkdir()
        self._static.quantize(quantization, excluded, out)
        return out


def _known(quantization: Quantization) -> tuple[str, ...] | None:
    """Return the operator types that a mode can quantise, None for float16, which tells those that it cannot."""
    return {
        "dynamic": quantizer.dynamic_op_types(),
        "static": quantizer.static_op_types(quantization.format),
        "int4": int4.OP_TYPES,
    }.get(quantization.mode)


def _op_types(quantization: Quantization) -> tuple[str, ...] | None:
    """Return the operator types that a mode quantises, None where that is any."""
    return quantization.op_types or _known(quantization)


def _require_op_types(quantization: Quantization) -> None:
    known = _known(quantization)
    if known is not None:
        quantizer.require_op_types(quantization.op_types, known, quantization.mode)


def _has_any(model: ir.Model, quantization: Quantization) -> bool:
    """Say whether the mode could change anything: of a large tree ensemble each tool makes several copies in vain."""
    found = {node.op_type for node in nodes(model)}
    if quantization.mode == "float16":
        return not quantization.keep_io or not found <= float16.held_op_types()
    known = {*(_op_types(quantization) or ())}
    return not found.isdisjoint(known | {"Gemm"} if "MatMul" in known else known)


def _kept(model: ir.Model, quantization: Quantization) -> dict[str, int]:
    """Return the nodes that stay in float when nothing is changed, counted by operator type."""
    if quantization.mode == "float16":
        return count_float16(model)[1]
    return count_integer(model, _op_types(quantization) or ())[1]


def _dynamic(model: ir.Model, quantization: Quantization, excluded: list[str], scratch: Path) -> _Made:
    op_types, left_out = _gemm_as_matmul(model, quantization.op_types, excluded, split_excluded=True)
    file = lay_out(model, scratch)
    out = scratch / "quantized" / "model.onnx"
    out.parent.mkdir()
    quantizer.quantize_dynamic(file, out, quantization, op_types, left_out, large=is_large(model))
    return _counted(out, op_types)


def _float16(
    model: ir.Model, quantization: Quantization, excluded: list[str], calls: Calls | None, scratch: Path
) -> _Made:
    had, _ = count_float16(model)
    file = lay_out(model, scratch)
    halved = halve(model, file, calls, scratch, keep_io=quantization.keep_io, exclude=excluded)
    quantized, kept = count_float16(halved.model)
    return _Made(halved.model, quantized if quantized != had else {}, kept, halved.warnings, halved.held)


def _int4(model: ir.Model, quantization: Quantization, excluded: list[str], scratch: Path) -> _Made:
    _, left_out = _gemm_as_matmul(model, quantization.op_types, excluded, split_excluded=False)
    proto = int4.quantize(lay_out(model, scratch), quantization.block_size, quantization.symmetric, left_out, scratch)
    model = ir.from_proto(proto)
    return _Made(model, *count_integer(model, int4.OP_TYPES))


def _gemm_as_matmul(
    model: ir.Model, op_types: tuple[str, ...] | None, excluded: list[str], *, split_excluded: bool
) -> tuple[tuple[str, ...] | None, list[str]]:
    """Rewrite Gemm nodes as MatMul and Add; return the tool's operator types and the nodes it must leave out.

    Dynamic and int4 quantisation know MatMul only: `MatMul` means Gemm too, `Gemm` alone means only those. The
    dynamic quantiser rewrites every Gemm, and under another name, which lets an excluded one slip through: for it
    all of them are rewritten here (`split_excluded`), where they keep their names.
    """
    known = op_types is None or "Gemm" in op_types or "MatMul" in op_types
    out = set(excluded)
    split = set(split_gemms(model, lambda node: split_excluded or (known and node.name not in out)))
    matmuls = {node.name for node in nodes(model) if node.op_type == "MatMul" and node.name}
    if op_types is not None and "MatMul" not in op_types:
        out |= matmuls - split
    if op_types is not None and not known:
        out |= split
    if op_types is not None:
        op_types = tuple(sorted({"MatMul" if name == "Gemm" else name for name in op_types}))
    return op_types, sorted(out)


def _counted(out: Path, op_types: tuple[str, ...] | None) -> _Made:
    model = ir.load(out)
    return _Made(model, *count_integer(model, op_types or ()))


def needed_opset(quantization: Quantization) -> int:
    """Return the lowest opset in which the quantised model can be written."""
    if quantization.mode not in ("dynamic", "static"):
        return 1
    return 13 if quantization.mode == "static" and quantization.per_channel else 11


def _require_float(model: ir.Model) -> None:
    node = find_quantized(model)
    if node is not None:
        raise StageFailure(
            "already-quantized",
            f"the model is already quantised: it has {node.op_type} ('{node.name}')",
            hint="leave `quantization` out, or start from the model in float; `repair: true` quantises the rest",
            node=node.name,
        )


def _require_opset(model: ir.Model, quantization: Quantization) -> None:
    opset, needed = model.opset_imports.get("", 0), needed_opset(quantization)
    if opset < needed:
        per_channel = needed == 13
        what = "per-channel static" if per_channel else quantization.mode
        raise StageFailure(
            "opset-too-low",
            f"{what} quantisation needs opset {needed}; the model has {opset}",
            hint=f"set `opset: {needed}` or above" + (", or `per_channel: false`" if per_channel else ""),
            tool=TOOLS[quantization.mode],
        )


def _excluded(model: ir.Model, patterns: tuple[str, ...]) -> list[str]:
    """Return the names of the nodes that `patterns` mean, by node name or by module path of the source."""
    if not patterns:
        return []
    names = {n.name: [n.name, *filter(None, [_module(n.name)])] for n in nodes(model) if n.name}
    require_matches(patterns, [name for both in names.values() for name in both], "nodes and module paths")
    return sorted(name for name, both in names.items() if is_any_match(patterns, both))


def _module(node: str) -> str:
    """Return the module path in a canonical node name, with the dots that frameworks write."""
    return node.rpartition("/")[0].replace("/", ".")


def _left(
    model: ir.Model, quantization: Quantization, excluded: Collection[str], static: Static | None
) -> tuple[Left, ...]:
    if quantization.mode == "float16":
        return ()
    unseen = static.untouched if static is not None and quantization.mode == "static" else ()
    return tuple(
        Left(op_type=one.op_type, nodes=one.nodes, bytes=one.bytes, reason=_why_left(one, quantization))
        for one in float_weights(model, excluded, unseen)
    )


def _why_left(left: Leftover, quantization: Quantization) -> str:
    known = {*(_known(quantization) or ())}
    if left.is_excluded:
        return EXCLUDED
    if left.op_type not in known:
        return f"{quantization.mode} quantisation has no {left.op_type}"
    if quantization.op_types is not None and left.op_type not in quantization.op_types:
        return NOT_ASKED
    if left.is_unseen:
        return UNSEEN
    return f"{TOOLS[quantization.mode]} leaves them"


def _unseen(static: Static | None) -> Iterator[Remark]:
    """Yield a warning of branches and loops that cannot be calibrated."""
    for why, names in static.missed.items() if static is not None else ():
        stay = "stay" if len(names) > 1 else "stays"
        message = f"{', '.join(names)} {stay} in float, and what reads its result knows no range of it: {why}"
        yield Remark("uncalibrated-branch", message)


def _remarks(left: Sequence[Left], weights: int) -> Iterator[Remark]:
    """Yield a warning where much stays in float that nobody asked to keep."""
    unasked = [one for one in left if one.reason not in (EXCLUDED, NOT_ASKED, UNSEEN)]
    size = sum(one.bytes for one in unasked)
    if size > WORTH_SAYING * weights:
        share = f"{format_size(size)} of {format_size(weights)} of weights stay in float"
        yield Remark("left-in-float", f"{share}: {_listed(unasked)}")


def _listed(left: Sequence[Left]) -> str:
    return "; ".join(f"{one.nodes} {one.op_type} ({format_size(one.bytes)}): {one.reason}" for one in left)


def _why_nothing(quantization: Quantization, kept: dict[str, int], left: Sequence[Left]) -> str:
    text = f"{quantization.mode} quantisation changed nothing"
    if left:
        return f"{text}: weights stay in float, {_listed(left)}"
    if not kept:
        return f"{text}: the model has no operator that it knows (tree ensembles and the like have none)"
    listed = ", ".join(f"{count} {name}" for name, count in kept.items())
    return (
        f"{text}: {listed} stay in float (excluded, not of the operator types asked for, or without constant weights)"
    )
