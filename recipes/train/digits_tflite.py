"""Trains a small CNN on scikit-learn's digits with TensorFlow and converts it to a float .tflite file."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from shared import accuracy, output_folder, write_arrays
from split import SEED, digits

EPOCHS = 30


def build() -> keras.Model:
    """Return the untrained network: two convolutions and a head.

    The L1 penalty pushes weights that do not matter towards zero, where pruning by threshold finds them.
    """
    layers = keras.layers
    sparse = keras.regularizers.L1(1e-3)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(16, 3, padding="same", activation="relu", kernel_regularizer=sparse),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 3, padding="same", activation="relu", kernel_regularizer=sparse),
            layers.Flatten(),
            layers.Dense(10, kernel_regularizer=sparse),
        ]
    )


def score(folder: Path) -> float:
    """Return the test accuracy of the model and data in `folder`, by the interpreter that devices run."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"(?s).*tf\.lite\.Interpreter is deprecated", UserWarning)
        interpreter = tf.lite.Interpreter(str(folder / "models/digits.tflite"))
    data = np.load(folder / "data/digits_nhwc_test.npz")
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], data["image"].shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], data["image"])
    interpreter.invoke()
    return accuracy(interpreter.get_tensor(made["index"]), data["labels"])


def main(out: Path) -> None:
    """Train, convert, write model and data, print the test score."""
    keras.utils.set_random_seed(SEED)
    images, labels, test_images, test_labels = digits("nhwc")
    write_arrays(out / "data/digits_nhwc_test.npz", image=test_images, labels=test_labels)
    model = build()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss)
    fall = keras.callbacks.LearningRateScheduler(lambda epoch: 3e-3 * (1 - epoch / EPOCHS))
    model.fit(images, labels, batch_size=32, epochs=EPOCHS, verbose=0, callbacks=[fall])
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        flat = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    (out / "models/digits.tflite").write_bytes(flat)
    print(f"digits-tflite: test accuracy {score(out):.4f}")


if __name__ == "__main__":
    main(output_folder(__doc__ or ""))
