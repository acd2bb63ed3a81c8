"""Trains a scikit-learn perceptron on digits and writes it as exporters did in 2019: opset 9, constants as nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from shared import accuracy, output_folder, write_arrays
from sklearn.neural_network import MLPClassifier
from split import SEED, digits

GAIN = 4.0


class Graph:
    """A graph under construction; values are numbered, as old exporters named them."""

    def __init__(self, value: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.value, self.count = value, 0

    def constant(self, array: np.ndarray) -> str:
        """Add a Constant node and return the name of its value."""
        self.count += 1
        tensor = numpy_helper.from_array(array.astype(np.float32))
        self.nodes.append(helper.make_node("Constant", [], [str(self.count)], value=tensor))
        return str(self.count)

    def apply(self, operator: str, *others: str, **attributes: object) -> None:
        """Add a node that takes the current value first; its result becomes the current value."""
        self.count += 1
        self.nodes.append(helper.make_node(operator, [self.value, *others], [str(self.count)], **attributes))
        self.value = str(self.count)


def to_onnx(network: MLPClassifier, mean: np.ndarray) -> onnx.ModelProto:
    """Return the network as an ONNX model of opset 9 that normalises its input with Sub and Mul first."""
    graph = Graph("input.1")
    graph.apply("Sub", graph.constant(mean))
    graph.apply("Mul", graph.constant(np.asarray(GAIN)))
    for index, (weights, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True)):
        if index:
            graph.apply("Relu")
            graph.apply("Dropout", ratio=0.1)  # an attribute until opset 12, then an input
        graph.apply("MatMul", graph.constant(weights))
        graph.apply("Add", graph.constant(bias))
    graph.apply("Softmax", axis=1)
    graph.nodes.append(helper.make_node("Identity", [graph.value], ["output.1"]))
    io = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width])
        for name, width in (("input.1", 64), ("output.1", 10))
    ]
    proto = helper.make_graph(graph.nodes, "digits-2019", io[:1], io[1:])
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)
    onnx.checker.check_model(model, full_check=True)
    return model


def score(folder: Path) -> float:
    """Return the test accuracy of the model and data in `folder`, in ONNX Runtime."""
    session = onnxruntime.InferenceSession(folder / "models/digits_2019.onnx", providers=["CPUExecutionProvider"])
    data = np.load(folder / "data/digits_pixels_test.npz")
    return accuracy(session.run(None, {"input.1": data["pixels"]})[0], data["labels"])


def main(out: Path) -> None:
    """Train, write model and data, print the test score."""
    pixels, labels, test_pixels, test_labels = digits("pixels")
    write_arrays(out / "data/digits_pixels_test.npz", pixels=test_pixels, labels=test_labels)
    mean = pixels.mean(axis=0)
    network = MLPClassifier((128, 64), alpha=0.3, tol=1e-3, max_iter=400, random_state=SEED)
    network.fit((pixels - mean) * GAIN, labels)
    onnx.save(to_onnx(network, mean), out / "models/digits_2019.onnx")
    print(f"digits-2019: test accuracy {score(out):.4f}")


if __name__ == "__main__":
    main(output_folder(__doc__ or ""))
