"""A cheap look at a foreign ONNX file before any tool touches it: what is refused, and why; runs nothing.

It bounds what parsing, checking and shape inference may cost. What it cannot see is left to the memory and time
limits of the process that goes on with the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.units import format_size
from onnxbuild.ir.external import bad, bits, check_external, hostile
from onnxbuild.ir.growth import MAX_RANK, Graph, check_functions, check_shapes, graphs_of
from onnxbuild.ir.wire import WireError, count

MAX_NODES = 1_000_000
MAX_FIELDS = 30_000_000
"""Strings and messages; a parsed one takes tens to hundreds of bytes."""
MAX_NUMBERS = 120_000_000
"""Numbers outside tensors, such as those of trees: 50 million in a file of 190 MB."""
MAX_DEPTH = 100
MAX_DIM = 2**31
MAX_NAME = 65_536
DOMAINS = frozenset(
    {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview", "ai.onnx.preview.training", "com.microsoft"}
    | {"com.microsoft.experimental", "com.microsoft.nchwc", "com.ms.internal.nhwc", "org.pytorch.aten"}
)
_LFS = b"version https://git-lfs"


def preflight(path: Path) -> onnx.ModelProto:
    """Refuse an ONNX file that is broken, reaches outside its folder, or would cost without end; return it parsed.

    Weights are not read. Raises StageFailure (`hostile-model` where a bound is passed or a file escapes,
    `bad-onnx-file` where the file is no ONNX model) with the reason.
    """
    _check_file(path)
    try:
        counts = count(path, max_nodes=MAX_NODES, max_fields=MAX_FIELDS, max_numbers=MAX_NUMBERS, max_depth=MAX_DEPTH)
    except WireError as error:
        code = "hostile-model" if "more than" in str(error) else "bad-onnx-file"
        raise StageFailure(code, f"{path.name} is refused: {error}") from None
    if counts.sparse:
        raise StageFailure("unsupported-model", f"{path.name} holds sparse tensors", hint="make them dense first")
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except Exception as error:  # protobuf's own types
        raise StageFailure("bad-onnx-file", f"{path.name} is not an ONNX model: {error}") from None
    _check_header(model, path)
    graphs = list(graphs_of(model))
    _check_domains(model, graphs)
    check_functions(model)
    for graph in graphs:
        _check_names(graph)
        _check_values(graph)
        check_shapes(graph)
    for name, tensor in _tensors(graphs):
        _check_tensor(name, tensor, path.parent)
    return model


def check_runs(model: onnx.ModelProto) -> None:
    """Refuse what ONNX Runtime dies of, or fails on without a word of where; raises StageFailure."""
    for graph in graphs_of(model):
        for node in graph.node:
            if node.op_type in ("If", "Loop", "Scan") and node.domain in ("", "ai.onnx") and "" in node.output:
                raise StageFailure(
                    "unsupported-model",
                    f"{node.op_type} '{node.name}' leaves an output without a name, which ONNX Runtime cannot run",
                    hint="name all outputs of it: nothing has to read them",
                    tool="onnxruntime",
                    node=node.name or None,
                )


def external_files(model: onnx.ModelProto, folder: Path) -> list[Path]:
    """Return the files below `folder` that hold the external data of a model that passed the pre-flight."""
    locations = {
        entry.value
        for _, tensor in _tensors(list(graphs_of(model)))
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return sorted(folder / location for location in locations)


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise bad(f"{path.name} is not a file")
    size = path.stat().st_size
    if size == 0:
        raise bad(f"{path.name} is empty")
    if size >= 2**31:
        raise bad(f"{path.name} takes {format_size(size)}; an ONNX file holds 2 GB, weights beyond lie outside")
    with path.open("rb") as file:
        if file.read(len(_LFS)) == _LFS:
            raise StageFailure(
                "bad-onnx-file", f"{path.name} is a Git LFS pointer, not a model", hint="run `git lfs pull`"
            )


def _check_header(model: onnx.ModelProto, path: Path) -> None:
    if not model.HasField("graph") or not model.graph.output:
        raise bad(f"{path.name} has no graph with outputs")
    if not 1 <= model.ir_version <= onnx.IR_VERSION:
        raise bad(f"its IR version {model.ir_version} is unknown; onnx {onnx.__version__} knows 1 to {onnx.IR_VERSION}")
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    highest = onnx.defs.onnx_opset_version()
    if not versions and not model.opset_import:
        raise bad("it imports no opset")
    if any(not 1 <= version <= highest for version in versions):
        raise bad(f"its opset {versions[0]} is unknown; onnx {onnx.__version__} knows 1 to {highest}")
    if len(set(versions)) > 1:
        raise bad(f"it imports the ONNX opset twice, as {versions[0]} and {versions[1]}")


def _check_domains(model: onnx.ModelProto, graphs: list[Graph]) -> None:
    allowed = DOMAINS | {function.domain for function in model.functions}
    local = {(function.domain, function.name) for function in model.functions}
    for graph in graphs:
        for node in graph.node:
            if node.domain not in allowed:
                raise hostile(
                    f"node '{node.name}' ({node.op_type}) is of domain '{node.domain}', which no library here runs",
                    node.name,
                )
            if node.domain not in DOMAINS and (node.domain, node.op_type) not in local:
                raise hostile(
                    f"node '{node.name}' calls '{node.domain}.{node.op_type}', which is not defined", node.name
                )


def _check_names(graph: Graph) -> None:
    for node in graph.node:
        for name in (node.name, node.op_type, *node.input, *node.output):
            if len(name) > MAX_NAME:
                raise hostile(f"a name is {len(name)} characters long, '{name[:40]}…'")
    if isinstance(graph, onnx.GraphProto):
        for value in (*graph.input, *graph.output, *graph.initializer):
            if len(value.name) > MAX_NAME:
                raise hostile(f"a name is {len(value.name)} characters long, '{value.name[:40]}…'")


def _check_values(graph: Graph) -> None:
    values = [*graph.value_info]
    if isinstance(graph, onnx.GraphProto):
        values += [*graph.input, *graph.output]
        for value in (*graph.input, *graph.output):
            if value.type.HasField("map_type") or value.type.sequence_type.elem_type.HasField("map_type"):
                raise StageFailure(
                    "unsupported-model",
                    f"'{value.name}' is a map, not a tensor",
                    hint="export the model without ZipMap (skl2onnx: options={'zipmap': False})",
                )
    for value in values:
        dims = value.type.tensor_type.shape.dim
        if len(dims) > MAX_RANK:
            raise hostile(f"'{value.name}' has rank {len(dims)}; at most {MAX_RANK} is sensible")
        for dim in dims:
            if dim.HasField("dim_value") and not -1 <= dim.dim_value <= MAX_DIM:
                raise hostile(f"'{value.name}' has a dim of {dim.dim_value}; at most 2^31 is sensible")


def _check_tensor(name: str, tensor: onnx.TensorProto, folder: Path) -> None:
    if len(tensor.dims) > MAX_RANK or any(not 0 <= dim <= MAX_DIM for dim in tensor.dims):
        raise hostile(f"tensor '{name}' has the dims {list(tensor.dims)[:8]}")
    elements = 1
    for dim in tensor.dims:
        elements *= dim
    if tensor.data_type == onnx.TensorProto.STRING:
        expected, found = elements, len(tensor.string_data)
    elif tensor.data_type not in onnx.TensorProto.DataType.values() or tensor.data_type == 0:
        raise bad(f"tensor '{name}' is of the unknown element type {tensor.data_type}")
    elif tensor.data_location == onnx.TensorProto.EXTERNAL:
        check_external(name, tensor, elements, folder)
        return
    elif tensor.HasField("raw_data"):
        expected, found = -(-elements * bits(tensor.data_type) // 8), len(tensor.raw_data)
    else:
        expected, found = _typed_length(tensor, elements)
    if expected != found:
        raise bad(f"tensor '{name}' holds {found} values or bytes where its dims need {expected}")


def _typed_length(tensor: onnx.TensorProto, elements: int) -> tuple[int, int]:
    """Return how many entries the typed field needs, and has."""
    field = onnx.helper.tensor_dtype_to_field(tensor.data_type)
    found = len(getattr(tensor, field))
    if tensor.data_type in (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128):
        return 2 * elements, found
    width = bits(tensor.data_type)
    return (-(-elements * width // 8) if width < 8 else elements), found


def _tensors(graphs: list[Graph]) -> Iterator[tuple[str, onnx.TensorProto]]:
    for graph in graphs:
        if isinstance(graph, onnx.GraphProto):
            for tensor in graph.initializer:
                yield tensor.name, tensor
        for node in graph.node:
            for attribute in node.attribute:
                label = node.output[0] if node.output else node.name
                if attribute.HasField("t"):
                    yield label, attribute.t
                for tensor in attribute.tensors:
                    yield label, tensor
