"""Where an exporter says that a node came from: its module's path, file and line; knows no names of ours."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

from onnxbuild.ir.facts import Origin

SCOPES = "pkg.torch.onnx.name_scopes"
TRACE = "pkg.torch.onnx.stack_trace"
SIGNATURE = "pkg.torch.export.ExportedProgram.graph_signature"
FUSED = "pkg.onnxscript.rewriter.rule_name"
FOLDED = "pkg.onnxscript.optimizer.folded_from"
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_TARGET = re.compile(r"(?:PARAMETER|BUFFER) target='([^']+)'")
_NOT_USER = re.compile(r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib[/\\]python\d|^<")


def origin_of(metadata: Mapping[str, str], root: Path | None) -> Origin | None:
    """Return the origin that torch's exporter wrote into a node's metadata, or None.

    The line is that of the innermost frame outside installed packages. Its file is named relative to `root` when
    it lies below, else by its last part: an origin never tells where the project is.
    """
    scopes = _texts(metadata.get(SCOPES))
    if not scopes:
        return None
    module = scopes[-2] if len(scopes) > 1 else ""
    frames = [m for m in _FRAME.findall(metadata.get(TRACE, "")) if not _NOT_USER.search(m[0])]
    if not frames:
        return Origin(module=module)
    file, line = frames[-1]
    return Origin(module=module, file=_relative(Path(file), root), line=int(line))


def parameter_names(metadata: Mapping[str, str]) -> frozenset[str]:
    """Return the names of parameters and buffers that torch's exporter wrote into a graph's metadata."""
    return frozenset(_TARGET.findall(metadata.get(SIGNATURE, "")))


def folded_from(metadata: Mapping[str, str]) -> str | None:
    """Return the one tensor that onnxscript's optimizer folded this one from, or None when there were several."""
    names = _texts(metadata.get(FOLDED))
    return names[0] if len(names) == 1 else None


def _texts(text: str | None) -> list[str]:
    if not text:
        return []
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return []
    return [str(v) for v in value] if isinstance(value, list) else []


def _relative(file: Path, root: Path | None) -> str:
    if root is not None and file.is_relative_to(root):
        return file.relative_to(root).as_posix()
    return file.name
