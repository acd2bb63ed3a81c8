"""Whether a tensor's external data lies where it may and is as long as it must be; knows nothing of graphs."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
import onnx_ir as ir

from onnxbuild.base.diagnostics import StageFailure


def bits(data_type: int) -> int:
    """Return the bits of one element of an ONNX element type, as it lies in a file."""
    return ir.DataType(data_type).bitwidth


def check_external(name: str, tensor: onnx.TensorProto, elements: int, folder: Path) -> None:
    """Refuse external data outside `folder`, in a link, or shorter than the tensor.

    Raises StageFailure (`hostile-model` where it reaches outside, `bad-onnx-file` where it is not all there).
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    file = _contained(name, location, folder)
    offset, length = _number(name, entries, "offset"), _number(name, entries, "length")
    needed = -(-elements * bits(tensor.data_type) // 8)
    if length is not None and length != needed:
        raise bad(f"tensor '{name}' claims {length} bytes of external data where its dims need {needed}")
    size = file.stat().st_size
    if (offset or 0) + needed > size:
        raise bad(f"tensor '{name}' reaches to byte {(offset or 0) + needed} of {location}, which holds {size}")


def _contained(name: str, location: str, folder: Path) -> Path:
    parts = PurePosixPath(location).parts
    if not location or "\0" in location:
        raise bad(f"tensor '{name}' names no file for its external data")
    if PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor or ".." in parts or "\\" in location:
        raise hostile(f"tensor '{name}' has its data in '{location}', outside the model's folder")
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise hostile(f"tensor '{name}' has its data in '{location}', which is a symbolic link")
    if not path.is_file():
        raise bad(f"tensor '{name}' has its data in '{location}', which is not there")
    if path.stat().st_nlink > 1:
        raise hostile(f"tensor '{name}' has its data in '{location}', which is a hard link")
    return path


def _number(name: str, entries: dict[str, str], key: str) -> int | None:
    if key not in entries:
        return None
    text = entries[key]
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise bad(f"tensor '{name}' has the {key} '{text[:30]}' in its external data, not a number of bytes")
    return int(text)


def hostile(reason: str, node: str | None = None) -> StageFailure:
    """Return the failure of a model that reaches outside its folder or passes a bound."""
    return StageFailure("hostile-model", f"the model is refused: {reason}", node=node)


def bad(reason: str) -> StageFailure:
    """Return the failure of a file that is no whole ONNX model."""
    return StageFailure("bad-onnx-file", f"the file is not a usable ONNX model: {reason}")
