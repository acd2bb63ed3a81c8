"""A copy of a model in which every value of the main graph is an output, for looking inside; runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx


@contextmanager
def all_outputs(file: Path) -> Iterator[Path]:
    """Yield a copy of the graph in `file`, beside it, whose outputs are what all nodes of the main graph write.

    The outputs it had come first; the others have no type. The copy is gone afterwards.
    """
    proto = onnx.load(file, load_external_data=False)
    known = {value.name for value in proto.graph.output}
    written = [name for node in proto.graph.node for name in node.output if name and name not in known]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in written)
    copy = file.with_name("all-outputs.onnx")
    copy.write_bytes(proto.SerializeToString())
    del proto  # of trees it is large, and whoever opens the copy makes one more
    try:
        yield copy
    finally:
        copy.unlink()
