"""Conversions of TensorFlow and tflite operators that tf2onnx lacks; knows tf2onnx's graphs, no models.

Each takes tf2onnx's graph, the node, its name and no arguments, and replaces the node in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def operator_conversions() -> dict[str, tuple[Any, list[Any]]]:
    """Return the conversions by operator, as tf2onnx's `custom_op_handlers` takes them."""
    return {
        "Erfc": (_erfc, []),
        "TFL_GELU": (_gelu, []),
        "TFL_RELU_0_TO_1": (_clip(0.0, 1.0), []),
        "TFL_RELU_N1_TO_1": (_clip(-1.0, 1.0), []),
    }


class _Replacement:
    """Builds the nodes that replace one node, the last of which takes over its output."""

    def __init__(self, graph: Any, node: Any) -> None:
        self._graph, self._name, self._output = graph, node.name, node.output[0]
        self._shapes, self._dtypes = node.output_shapes[:1], node.output_dtypes[:1]
        graph.remove_node(node.name)

    def constant(self, value: float) -> str:
        """Return the name of a scalar of the node's dtype."""
        from tf2onnx import utils

        array = np.array(value, utils.map_onnx_to_numpy_type(self._dtypes[0]))
        return str(self._graph.make_const(utils.make_name(self._name), array).output[0])

    def add(self, operator: str, *inputs: str) -> str:
        """Add a node inside the replacement and return its output."""
        from tf2onnx import utils

        name = utils.make_name(self._name)
        node = self._graph.make_node(operator, list(inputs), name=name, shapes=self._shapes, dtypes=self._dtypes)
        return str(node.output[0])

    def finish(self, operator: str, *inputs: str) -> None:
        """Add the node that has the replaced one's name and output."""
        self._graph.make_node(
            operator,
            list(inputs),
            name=self._name,
            outputs=[self._output],
            shapes=self._shapes,
            dtypes=self._dtypes,
        )


def _erfc(graph: Any, node: Any, name: str, args: Any) -> None:
    """1 - erf(x), which Keras's gelu computes as erfc(-x / sqrt 2)."""
    x = node.input[0]
    new = _Replacement(graph, node)
    new.finish("Sub", new.constant(1.0), new.add("Erf", x))


def _gelu(graph: Any, node: Any, name: str, args: Any) -> None:
    """x / 2 * (1 + f(x)): f is erf(x / sqrt 2), or its approximation tanh(sqrt(2 / pi) * (x + 0.044715 x^3))."""
    x, approximate = node.input[0], bool(node.get_attr_value("approximate", False))
    new = _Replacement(graph, node)
    if approximate:
        cubic = new.add("Mul", new.constant(0.044715), new.add("Mul", x, new.add("Mul", x, x)))
        bend = new.add("Tanh", new.add("Mul", new.constant(np.sqrt(2 / np.pi)), new.add("Add", x, cubic)))
    else:
        bend = new.add("Erf", new.add("Mul", x, new.constant(np.sqrt(0.5))))
    new.finish("Mul", new.add("Mul", x, new.constant(0.5)), new.add("Add", bend, new.constant(1.0)))


def _clip(low: float, high: float) -> Any:
    def convert(graph: Any, node: Any, name: str, args: Any) -> None:
        x = node.input[0]
        new = _Replacement(graph, node)
        new.finish("Min", new.add("Max", x, new.constant(low)), new.constant(high))

    return convert
