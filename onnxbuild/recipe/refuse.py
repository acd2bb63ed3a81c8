"""Keys of the format that this version cannot do yet, each refused where it is written; knows nothing of merging."""

from __future__ import annotations

from onnxbuild.recipe.node import Node, Path, key_place, walk
from onnxbuild.recipe.problems import Problems
from onnxbuild.recipe.wording import dotted

CODE = "not-in-this-version"

KEYS: tuple[tuple[str, ...], ...] = (
    ("quantization", "repair"),
    ("quantization", "auto"),
    ("benchmark",),
    ("gates", "speed"),
    ("gates", "latency"),
    ("gates", "memory"),
    ("guard",),
    ("providers", "*", "min_nodes"),
    ("providers", "*", "options"),
    ("providers", "*", "required"),
    ("session", "auto"),
)
"""Refused wherever written; `*` is any one key. A null, which only removes, is legal."""
PROJECT_KEYS: tuple[tuple[str, ...], ...] = (("remote",), ("trusted_keys",))
CPU = ("cpu", "CPUExecutionProvider")


def refuse_keys(root: Node, problems: Problems, *, project: bool = False) -> set[str]:
    """Note every key and value that is not in this version; return the sections they stand in.

    `root` is a whole recipe, or (`project`) a whole onnxbuild.yaml.
    """
    sections = set()
    for path, node in walk(root):
        if node.value is None:
            continue
        refused = path in PROJECT_KEYS if project else False
        local = _within_layer(path, project=project)
        if refused or (local and (_is_refused(local) or _is_refused_value(local, node))):
            problems.error(CODE, f"`{dotted(local or path)}`{_shown(local, node)} is not in this version of onnxbuild",
                           key_place(root, path), hint="leave it out for now")  # fmt: skip
            sections.add(str((local or path)[0]))
    return sections


def _within_layer(path: Path, *, project: bool) -> Path:
    """Return the path below the layer (recipe, variant, defaults) it is written in."""
    if project:
        return path[1:] if path and path[0] == "defaults" else ()
    return path[2:] if path and path[0] == "variants" else path


def _is_refused(path: Path) -> bool:
    if len(path) == 2 and path[0] == "providers":
        return path[1] not in CPU
    return any(len(key) == len(path) and all(a in ("*", b) for a, b in zip(key, path, strict=True)) for key in KEYS)


def _is_refused_value(path: Path, node: Node) -> bool:
    if path == ("quantization", "mode"):
        return node.value == "auto"
    return len(path) == 3 and path[:2] == ("package", "formats") and node.value == "ort"


def _shown(path: Path, node: Node) -> str:
    return f": {node.value}" if path and _is_refused_value(path, node) else ""
