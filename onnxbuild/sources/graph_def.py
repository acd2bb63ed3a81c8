"""Functions in a TensorFlow GraphDef under names without process-wide counters; knows nothing of ONNX."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from typing import Any

_COUNTED = re.compile(r"^__(?:inference|forward|backward)_|(?:_\d+)+$")


def name_functions(graph_def: Any) -> None:
    """Rename the library's functions in place by what they are, and order them as the graph reaches them.

    TensorFlow names the bodies of loops and branches from a counter over all functions of the process
    (`__inference_while_body_90_5270`), and converters make node names of that.
    """
    functions = {function.signature.name: copy.deepcopy(function) for function in graph_def.library.function}
    names: dict[str, str] = {}
    _reach(graph_def.node, functions, names)
    for old in sorted(functions.keys() - names.keys()):  # reached by nothing
        _reach_function(old, functions, names)
    for nodes in (graph_def.node, *(function.node_def for function in functions.values())):
        for node in nodes:
            if node.op in names:
                node.op = names[node.op]
            for value in _function_values(node):
                value.name = names.get(value.name, value.name)
    ordered = [functions[old] for old in names]
    for function, new in zip(ordered, names.values(), strict=True):
        function.signature.name = new
    del graph_def.library.function[:]
    graph_def.library.function.extend(ordered)
    for gradient in graph_def.library.gradient:
        gradient.function_name = names.get(gradient.function_name, gradient.function_name)
        gradient.gradient_func = names.get(gradient.gradient_func, gradient.gradient_func)


def _reach(nodes: Iterable[Any], functions: dict[str, Any], names: dict[str, str]) -> None:
    for node in nodes:
        for name in (node.op, *(value.name for value in _function_values(node))):
            if name in functions and name not in names:
                _reach_function(name, functions, names)


def _reach_function(name: str, functions: dict[str, Any], names: dict[str, str]) -> None:
    base = _COUNTED.sub("", _COUNTED.sub("", name)) or "function"
    taken = set(names.values()) | (functions.keys() - {name})
    names[name] = next(word for word in _candidates(base) if word not in taken)
    _reach(functions[name].node_def, functions, names)


def _candidates(base: str) -> Iterator[str]:
    yield base
    number = 1
    while True:
        yield f"{base}_{number}"
        number += 1


def _function_values(node: Any) -> list[Any]:
    """Return the node's references to functions, in the order of its attributes' names."""
    found: list[Any] = []
    for key in sorted(node.attr):
        attribute = node.attr[key]
        if attribute.HasField("func"):
            found.append(attribute.func)
        found.extend(attribute.list.func)
    return found
