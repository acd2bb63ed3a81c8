"""Trains a Keras CNN on scikit-learn's digits and writes it whole as a .keras file."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from shared import accuracy, output_folder, write_arrays
from split import CALIBRATION, SEED, digits

EPOCHS = 15


def build() -> keras.Model:
    """Return the untrained network: a separable convolution, a strided one with batch norm, and a small head."""
    layers = keras.layers
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(24, 3, padding="same", activation="relu", name="stem")(image)
    x = layers.SeparableConv2D(48, 3, padding="same", activation="relu", name="separable")(x)
    x = layers.Conv2D(48, 3, strides=2, padding="same", use_bias=False, name="strided")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Activation("relu", name="active")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.1, name="dropout")(x)  # exists in training only
    scores = layers.Dense(10, activation="softmax", name="scores")(x)
    return keras.Model(image, scores, name="digits")


def score(folder: Path) -> float:
    """Return the test accuracy of the model and data in `folder`."""
    model = keras.saving.load_model(folder / "models/digits.keras")
    data = np.load(folder / "data/digits_test.npz")
    scores = model(data["image"].reshape(-1, 8, 8, 1), training=False)
    return accuracy(np.asarray(scores), data["labels"])


def main(out: Path) -> None:
    """Train, write model and data, print the test score."""
    keras.utils.set_random_seed(SEED)
    images, labels, test_images, test_labels = digits("nchw")
    write_arrays(out / "data/digits_test.npz", image=test_images, labels=test_labels)
    write_arrays(out / "data/digits_calibration.npz", image=images[:CALIBRATION])
    model = build()
    model.compile(keras.optimizers.Adam(4e-3), "sparse_categorical_crossentropy")
    fall = keras.callbacks.LearningRateScheduler(lambda epoch: 4e-3 * (1 - epoch / EPOCHS))
    model.fit(images.reshape(-1, 8, 8, 1), labels, batch_size=32, epochs=EPOCHS, verbose=0, callbacks=[fall])
    # A copy that was never compiled: the file then holds no optimizer state, a third of its size.
    delivered = build()
    delivered.set_weights(model.get_weights())
    delivered.save(out / "models/digits.keras")
    print(f"digits-keras: test accuracy {score(out):.4f}")


if __name__ == "__main__":
    main(output_folder(__doc__ or ""))
