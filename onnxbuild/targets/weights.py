"""How far a model's weights are from the accepted model's, where another machine made it; knows no lock's form."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from onnxbuild.base.codec import decode
from onnxbuild.engine.alone import run_alone
from onnxbuild.ir.facts import ComparisonFacts, TensorDifference
from onnxbuild.stages.compare import COMPARE, CompareParams
from onnxbuild.store.artifact import Artifact, Blob
from onnxbuild.store.blobs import BlobStore, CorruptBlobError

RELATIVE = 1e-5
"""How far a float tensor may be from the accepted one: the norm of the change over its norm."""
STEP = 1.0
"""How far an integer may be from the accepted one."""
_MODEL = "model.onnx"
_NAME, _DIGEST = re.compile(r"\w[\w.-]*"), re.compile(r"[0-9a-f]{64}")


class NotComparedError(Exception):
    """The weights cannot be compared; the text says why."""


def compare_weights(blobs: BlobStore, accepted: Mapping[str, str], now: Mapping[str, str]) -> tuple[int, list[str]]:
    """Return how many tensors were not the same bytes, and in words those that are too far from the accepted ones.

    Both are digests of a model's files by name. Raises NotComparedError when one of them is not in the store.
    """
    with tempfile.TemporaryDirectory(prefix="onnxbuild-") as scratch:
        files = {}
        for label, digests in (("old", accepted), ("new", now)):
            folder = Path(scratch, label)
            folder.mkdir()
            try:
                blobs.lay_out(_artifact(blobs, digests), folder)
            except (CorruptBlobError, OSError):
                raise NotComparedError("the accepted model is not in the store") from None
            files[label] = folder / _MODEL
        result = run_alone(COMPARE, CompareParams(), files, Path(scratch))
    if result.failure is not None:
        raise NotComparedError(result.failure.message)
    found = decode(bytes(result.facts), ComparisonFacts)
    return sum(found.tensor_counts.values()), [*_apart(found)]


def _artifact(blobs: BlobStore, digests: Mapping[str, str]) -> Artifact:
    for name, digest in digests.items():
        if not _NAME.fullmatch(name) or not _DIGEST.fullmatch(digest):
            raise NotComparedError(f"{name} is no file of a model, or {digest} no digest")
    return Artifact({name: Blob(digest, blobs.path(digest).stat().st_size) for name, digest in digests.items()})


def _apart(found: ComparisonFacts) -> Iterator[str]:
    for node in found.nodes:
        details = f": {'; '.join(node.details)}" if node.details else ""
        yield f"node {node.name} {node.kind}{details}"
    for tensor in found.tensors:
        if (how := _distance(tensor)) is not None:
            yield f"{tensor.name} {how}"
    if len(found.tensors) < (whole := sum(found.tensor_counts.values())):
        yield f"of {whole:,} tensors that differ only {len(found.tensors)} could be looked at"


def _distance(tensor: TensorDifference) -> str | None:
    """Return how a tensor is too far from the accepted one; None when it is near enough."""
    if tensor.old is None or tensor.new is None or tensor.old != tensor.new:
        return f"is {tensor.new or 'gone'}, accepted is {tensor.old or 'none'}"
    if tensor.largest is None or tensor.relative is None:
        return f"differs in {tensor.elements:,} elements" if tensor.elements else "differs"
    if "int" in tensor.old.partition(" ")[0]:
        return f"differs by up to {tensor.largest:g} steps, allowed is one" if tensor.largest > STEP else None
    if tensor.relative > RELATIVE:
        return f"changed by {tensor.relative:.2g} of its norm, allowed is {RELATIVE:g}"
    return None
