"""Trains a TensorFlow network on scikit-learn's digits and writes it as a SavedModel with a signature of its own."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import tensorflow as tf
from shared import accuracy, output_folder, write_arrays
from split import SEED, batches, digits

EPOCHS = 40
PENALTY = 3e-4
SIGNATURE = "classify"


class Perceptron(tf.Module):
    """Two hidden layers; `classify` is the signature that is saved."""

    def __init__(self, generator: np.random.Generator) -> None:
        super().__init__(name="digits")
        sizes = [64, 128, 64, 10]
        self.weights = [
            tf.Variable(generator.normal(0, (2 / a) ** 0.5, (a, b)).astype(np.float32), name=f"weights_{i}")
            for i, (a, b) in enumerate(pairwise(sizes))
        ]
        self.biases = [tf.Variable(tf.zeros(size), name=f"bias_{i}") for i, size in enumerate(sizes[1:])]

    def logits(self, pixels: tf.Tensor) -> tf.Tensor:
        """Return unscaled class scores."""
        x = pixels
        for weights, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = tf.nn.relu(x @ weights + bias)
        return x @ self.weights[-1] + self.biases[-1]

    @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32, name="pixels")])
    def classify(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the probability of each digit."""
        return {"probabilities": tf.nn.softmax(self.logits(pixels))}


def train(model: Perceptron, pixels: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> None:
    """Fit with Adam and a falling rate, with pixel noise."""
    optimizer = tf.keras.optimizers.Adam(2e-3)
    variables = [*model.weights, *model.biases]
    optimizer.build(variables)

    @tf.function
    def step(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, model.logits(x)))
            # The L1 penalty lets weights that do not matter go to zero, so that pruning finds some to take.
            loss += PENALTY * tf.add_n([tf.reduce_sum(tf.abs(weights)) for weights in model.weights])
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    for epoch in range(EPOCHS):
        optimizer.learning_rate = 2e-3 * (1 - epoch / EPOCHS)
        for rows in batches(len(pixels), 32, generator):
            noise = generator.normal(0, 0.1, (len(rows), 64)).astype(np.float32)
            step(tf.constant(pixels[rows] + noise), tf.constant(labels[rows]))


def score(folder: Path) -> float:
    """Return the test accuracy of the model and data in `folder`."""
    signature = tf.saved_model.load(str(folder / "models/digits_savedmodel")).signatures[SIGNATURE]
    data = np.load(folder / "data/digits_pixels_test.npz")
    scores = signature(pixels=tf.constant(data["pixels"]))["probabilities"]
    return accuracy(scores.numpy(), data["labels"])


def main(out: Path) -> None:
    """Train, write model and data, print the test score."""
    generator = np.random.default_rng(SEED)
    pixels, labels, test_pixels, test_labels = digits("pixels")
    write_arrays(out / "data/digits_pixels_test.npz", pixels=test_pixels, labels=test_labels)
    model = Perceptron(generator)
    train(model, pixels, labels, generator)
    folder = out / "models/digits_savedmodel"
    shutil.rmtree(folder, ignore_errors=True)
    tf.saved_model.save(
        model,
        str(folder),
        signatures={SIGNATURE: model.classify},
        options=tf.saved_model.SaveOptions(save_debug_info=False),
    )
    (folder / "fingerprint.pb").unlink(missing_ok=True)  # a checksum of this very save: noise in a diff
    print(f"digits-savedmodel: test accuracy {score(out):.4f}")


if __name__ == "__main__":
    main(output_folder(__doc__ or ""))
