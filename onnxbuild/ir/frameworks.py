"""What the names in an exporter's model mean, framework by framework; knows nothing of how names are given out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import onnx_ir as ir

from onnxbuild.ir.facts import Origin
from onnxbuild.ir.naming import Rules, given_names
from onnxbuild.ir.origins import FUSED, folded_from, origin_of, parameter_names
from onnxbuild.ir.walk import nodes, tensor_slots
from onnxbuild.recipe.types import Framework

_COUNTER = re.compile(r"__\d+$")
_CALL = re.compile(r"(Stateful)?PartitionedCall(_\d+)?")
_TORCH_MADE = re.compile(r"val_\d+|_v_\d+|onnx::\w+_\d+|lifted_tensor_\d+|c_.*|.*_tensor_constant\d+|\d*")


def exporter_rules(model: ir.Model, source: Framework, modules: Sequence[str], root: Path | None) -> Rules:
    """Return the naming rules for a model fresh from an exporter.

    `modules` are the names of the source's layers, where it knows them: they tell a layer called `fc_1` from the
    second call of a layer called `fc`, which TensorFlow writes alike.
    """
    match source:
        case Framework.TORCH:
            return _torch(model, root)
        case Framework.TENSORFLOW | Framework.KERAS | Framework.TFLITE:
            return _tensorflow(model, modules)
        case Framework.SKLEARN:
            return Rules(_never, _never, _never, lambda _: "")
        case Framework.ONNX:
            return given_names(None)


def origins(model: ir.Model, root: Path | None) -> dict[ir.Node, Origin]:
    """Return where each node came from, as far as torch's exporter wrote it down."""
    parameters = parameter_names(model.graph.metadata_props)
    found: dict[ir.Node, Origin] = {}
    for node in nodes(model):
        origin = origin_of(node.metadata_props, root)
        if origin is not None:
            module = _module_of_weight(node, parameters) if FUSED in node.metadata_props else None
            found[node] = origin if module is None else msgspec.structs.replace(origin, module=module)
    return found


def _module_of_weight(node: ir.Node, parameters: frozenset[str]) -> str | None:
    """Return the module that owns a fused node's first weight: a convolution stays `conv1` when it takes in `bn1`."""
    for value in node.inputs:
        if value is not None and value.name in parameters:
            return str(value.name).rpartition(".")[0]
    return None


def _never(_: object) -> bool:
    return False


def _torch(model: ir.Model, root: Path | None) -> Rules:
    """Name nodes by module; parameters keep the name they have in the module, folded ones their source's."""
    known = origins(model, root)
    parameters = parameter_names(model.graph.metadata_props)
    scopes = {node: origin.module.replace(".", "/") for node, origin in known.items()}
    for node in nodes(model):
        if node not in scopes and (node.name or "").startswith("/"):  # the older exporter: /blocks.0/fc/MatMul
            path = [part for part in (node.name or "").split("/")[1:-1] if part]
            scopes[node] = "/".join(path[-1:]).replace(".", "/") if path else ""
    preferred: dict[int, str] = {}
    for value in model.graph.initializers.values():
        name = folded_from(value.metadata_props)
        if name and not _TORCH_MADE.fullmatch(name):
            preferred[id(value)] = name

    def keeps_initializer(value: ir.Value) -> bool:
        return value.name in parameters or not _TORCH_MADE.fullmatch(value.name or "")

    return Rules(_never, _never, keeps_initializer, scopes.get, preferred)


def _tensorflow(model: ir.Model, modules: Sequence[str]) -> Rules:
    """Name nodes by the name scope of the TensorFlow operation they came from, without counters and wrappers."""
    paths = {node: _path(node.name or "") for node in nodes(model)}
    operations = {path for path in paths.values() if len(path) > 1}
    constants = {_path(slot.name) for slot in tensor_slots(model)}
    folders = {node: _scope_of(path, operations) for node, path in paths.items()}
    tops = {folder[0] for folder in folders.values() if folder} | {path[0] for path in constants if len(path) > 1}
    known = set(modules)
    if len(tops) == 1 and not known & {top for top in tops if not _numbered(top, known)}:
        deeper = [folder[1:] for folder in folders.values() if len(folder) > 1]
        if deeper:  # the model's own scope says nothing
            folders = {node: folder[1:] for node, folder in folders.items()}
    firsts = {folder[0] for folder in folders.values() if folder}
    repeated = bool(firsts) and all(first.endswith("_1") for first in firsts)
    scopes: dict[ir.Node, str] = {}
    for node, folder in folders.items():
        parts = [_module(part, known, repeated and depth == 0) for depth, part in enumerate(folder)]
        if parts:
            scopes[node] = "/".join(parts)
    return Rules(_never, _never, _never, scopes.get)


def _path(name: str) -> tuple[str, ...]:
    """Return the parts of a TensorFlow name: first of fused ones, no output number, no counter, no call wrapper."""
    first = name.split(";")[0].split(":")[0]
    parts = [_COUNTER.sub("", part) for part in first.split("/")]
    while parts and _CALL.fullmatch(parts[0]):
        parts = parts[1:]
    return tuple(part for part in parts if part)


def _scope_of(path: tuple[str, ...], operations: set[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the name scope that holds an operation; a scope that is an operation itself is a helper's, and left."""
    scope = path[:-1]
    while scope in operations:
        scope = scope[:-1]
    return scope


def _numbered(part: str, known: set[str]) -> bool:
    return part not in known and re.sub(r"_\d+$", "", part) in known


def _module(part: str, known: set[str], repeated: bool) -> str:
    """Return a layer's own name: Keras opens its name scope again when a model is traced, and gets `fc_1` for `fc`."""
    if _numbered(part, known):
        return re.sub(r"_\d+$", "", part)
    return part.removesuffix("_1") if repeated and not known else part
