"""Opset and IR version: converting, setting, and saying what is possible; knows nothing of names and dims."""

from __future__ import annotations

import logging
from collections.abc import Callable

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common_passes

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.walk import bodies, nodes, tensor_slots

DEFAULT_IR = 10
"""Loads in ONNX Runtime for every opset up to its highest."""
HIGHEST_IR = 13
_IR_OF_INITIALIZERS = 4
"""From here on an initializer need not be an input, and in our models none is."""
HIGHEST_OPSET = 26
"""What ONNX Runtime 1.31 loads; onnx itself is further on."""
_ONNXSCRIPT = (18, 25)
_IR_OF_DTYPE = {
    ir.DataType.INT4: 10,
    ir.DataType.UINT4: 10,
    ir.DataType.FLOAT4E2M1: 11,
    ir.DataType.FLOAT8E8M0: 12,
    ir.DataType.INT2: 13,
    ir.DataType.UINT2: 13,
}
_SMALL = 1024


def convert_opset(model: ir.Model, opset: int) -> ir.Model:
    """Return `model` converted to ONNX opset `opset`; node names and metadata stay where the nodes do.

    onnxscript's converter goes first; onnx's own where that one cannot go (from below 18, beyond 25, downwards); then
    both, each for its part of the way. Weights stay where they are. Raises StageFailure (`opset-not-delivered`) that
    says what is possible.
    """
    merge_opset_imports(model)
    present = model.opset_imports.get("")
    if present == opset:
        return model
    if present is None or not 1 <= opset <= HIGHEST_OPSET:
        raise _not_delivered(opset, present, f"ONNX Runtime loads opsets up to {HIGHEST_OPSET}", present)
    reasons: list[str] = []
    converted = _convert(model, present, opset, reasons)
    if converted is not None:
        return converted
    between = range(opset + 1, present) if opset < present else range(opset - 1, present, -1)
    nearest = next((other for other in between if _convert(model, present, other, []) is not None), present)
    raise _not_delivered(opset, present, "; ".join(reasons), nearest)


def _convert(model: ir.Model, present: int, opset: int, reasons: list[str]) -> ir.Model | None:
    """Return the model at `opset` by the first way that delivers it, or None with each converter's reason."""
    low, high = _ONNXSCRIPT
    ways: list[tuple[tuple[_Converter, int], ...]] = [((_by_onnxscript, opset),), ((_by_onnx, opset),)]
    if present < opset and (present < low or opset > high):
        middle = [(_by_onnxscript, min(opset, high))] if min(opset, high) > max(present, low) else []
        ways.append((*([(_by_onnx, low)] if present < low else []), *middle, (_by_onnx, opset)))
    for way in ways:
        converted = model.clone()
        try:
            for convert, to in way:
                converted = converted if converted.opset_imports.get("") == to else convert(converted, to)
        except Exception as error:  # both converters raise unrelated types
            if len(way) == 1:
                reasons.append(f"{_TOOL[way[0][0]]}: {_first_line(error)}")
            continue
        delivered = delivered_opset(converted)
        if delivered == opset:
            return converted
        reasons.append(f"{_TOOL[way[-1][0]]} delivered {delivered}")
    return None


def _first_line(error: Exception) -> str:
    """Return what a converter said, without the place in its own source where it said it."""
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return text.rpartition("Assertion `false` failed: ")[2]


def delivered_opset(model: ir.Model) -> int | None:
    """Return the opset of ONNX's own domain that graph and functions agree on, or None."""
    versions = {model.opset_imports.get("")} | {
        f.opset_imports[""] for f in model.functions.values() if "" in f.opset_imports
    }
    return versions.pop() if len(versions) == 1 else None


def merge_opset_imports(model: ir.Model) -> None:
    """Write ONNX's own domain one way; a model that imports it twice means the higher version."""
    for imports in (model.opset_imports, *(f.opset_imports for f in model.functions.values())):
        if "ai.onnx" in imports:
            imports[""] = max(imports.pop("ai.onnx"), imports.get("", 0))


def set_ir_version(model: ir.Model, ir_version: int | None) -> None:
    """Set the IR version: as asked, else 10 or what element types need.

    Raises StageFailure (`ir-version-not-possible`) when what the model holds needs a higher one, or when ONNX
    Runtime loads no such version.
    """
    needed, why = _needed_ir(model)
    version = max(DEFAULT_IR, needed) if ir_version is None else ir_version
    if version < needed:
        raise StageFailure(
            "ir-version-not-possible",
            f"ir_version {version} is too low: {why} needs {needed}",
            hint=f"set `ir_version: {needed}` or leave it out",
        )
    if version > HIGHEST_IR:
        raise StageFailure(
            "ir-version-not-possible",
            f"ir_version {version} is too high: ONNX Runtime loads up to {HIGHEST_IR}",
            hint=f"set `ir_version` to at most {HIGHEST_IR}",
        )
    model.ir_version = version


def _needed_ir(model: ir.Model) -> tuple[int, str]:
    needed, why = _IR_OF_INITIALIZERS, "an initializer that is no input"
    if model.functions:
        needed, why = 8, "a model-local function"
    dtypes = {slot.tensor.dtype for slot in tensor_slots(model)}
    dtypes |= {value.dtype for value in (*model.graph.inputs, *model.graph.outputs) if value.dtype is not None}
    for dtype in dtypes:
        if _IR_OF_DTYPE.get(dtype, 0) > needed:
            needed, why = _IR_OF_DTYPE[dtype], f"element type {dtype.name.lower()}"
    return needed, why


def _by_onnxscript(model: ir.Model, opset: int) -> ir.Model:
    present = model.opset_imports.get("", 0)
    if not _ONNXSCRIPT[0] <= present <= opset <= _ONNXSCRIPT[1]:  # outside, it stamps the number and changes nothing
        raise ValueError(f"it converts upwards between {_ONNXSCRIPT[0]} and {_ONNXSCRIPT[1]}")
    from onnxscript import version_converter  # 0.5 s to import, and most models need no conversion

    logging.getLogger("onnxscript.version_converter").setLevel(logging.ERROR)
    version_converter.convert_version(model, opset, fallback=False)
    for node in nodes(model):
        node.version = None
    return model


def _by_onnx(model: ir.Model, opset: int) -> ir.Model:
    """Convert through onnx's C++ converter, with large weights standing aside as graph inputs."""
    common_passes.InlinePass()(model)
    model.ir_version = max(model.ir_version, _IR_OF_INITIALIZERS)  # below, the converter takes only inputs' weights
    large = {
        name: value
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and value.const_value.nbytes > _SMALL
    }
    tensors = {name: value.const_value for name, value in large.items()}
    for name, value in model.graph.initializers.items():
        if name not in large and isinstance(value.const_value, ir.ExternalTensor):
            value.const_value = ir.tensor(value.const_value.numpy(), name=name)  # the proto knows no folder
    metadata = {
        value.name: dict(node.metadata_props) for node in nodes(model) for value in node.outputs if node.metadata_props
    }
    own = [value.name for value in model.graph.inputs if value.name not in large]
    for name, value in large.items():
        tensor = value.const_value
        assert tensor is not None
        value.type, value.shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
        del model.graph.initializers[name]
        if value not in model.graph.inputs:
            model.graph.inputs.append(value)
    converted = ir.from_proto(onnx.version_converter.convert_version(ir.to_proto(model), opset))
    by_name = {value.name: value for value in converted.graph.inputs}
    for name, tensor in tensors.items():
        value = by_name[name]
        value.const_value = tensor
        converted.graph.register_initializer(value)
    converted.graph.inputs[:] = [by_name[name] for name in own]
    for body in bodies(converted):
        for node in body:
            node.metadata_props.update(next((metadata[v.name] for v in node.outputs if v.name in metadata), {}))
    converted.metadata_props.update(model.metadata_props)
    converted.graph.metadata_props.update(model.graph.metadata_props)
    return converted


_Converter = Callable[[ir.Model, int], ir.Model]
_TOOL: dict[_Converter, str] = {_by_onnxscript: "onnxscript", _by_onnx: "onnx"}


def _not_delivered(opset: int, present: int | None, why: str, nearest: int | None) -> StageFailure:
    possible = f"set `opset: {nearest}`, the nearest that the converters deliver for this model"
    return StageFailure(
        "opset-not-delivered",
        f"the model has opset {present} and cannot be converted to {opset}: {why}",
        hint=possible if nearest else "give the model an opset import",
        tool="version_converter",
    )


def used_domains(model: ir.Model) -> set[str]:
    """Return the domains of all operators that the model uses, those of functions included."""
    return {"" if node.domain == "ai.onnx" else node.domain for node in nodes(model)}
