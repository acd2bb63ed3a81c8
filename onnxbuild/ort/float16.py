"""Converting a model to float16 with ONNX Runtime's converter; knows no patterns and no model artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from onnxbuild.base.foreign import foreign_tool

TOOL = "onnxruntime.transformers.float16"


def convert(file: Path, keep_io: bool, exclude: Sequence[str], scratch: Path) -> onnx.ModelProto:
    """Return the model in `file` with float16 for float32; with `keep_io` its inputs and outputs stay float32.

    Operators that have no float16 kernel, and the nodes named in `exclude`, stay float32 between casts. Inserted
    nodes come last: the result is not in topological order. The tool writes beside `file` too.
    """
    with foreign_tool(TOOL, scratch):
        from onnxruntime.transformers.float16 import convert_float_to_float16

        converted = convert_float_to_float16(str(file), keep_io_types=keep_io, node_block_list=list(exclude))
    _drop_repeated_casts(converted.graph)
    return converted  # type: ignore[no-any-return]  # onnxruntime is untyped


def held_op_types() -> frozenset[str]:
    """Return the operator types that the converter leaves in float32."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST

    return frozenset(DEFAULT_OP_BLOCK_LIST)


def special_op_types() -> frozenset[str]:
    """Return the operator types around which the converter adds casts: to the main graph, wherever the node is."""
    from onnxruntime.transformers.float16 import ALWAYS_FLOAT_INPUTS

    return held_op_types() | frozenset(ALWAYS_FLOAT_INPUTS)


def _drop_repeated_casts(graph: onnx.GraphProto) -> None:
    """Leave one of the casts that the tool writes for each use of a tensor by nodes that stay float32, all alike."""
    seen: set[str] = set()
    repeated = []
    for number, node in enumerate(graph.node):
        if node.op_type == "Cast" and node.name.endswith("_cast_to_fp32_node"):
            if node.output[0] in seen:
                repeated.append(number)
            seen.add(node.output[0])
    for number in reversed(repeated):
        del graph.node[number]
