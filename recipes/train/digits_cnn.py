"""Trains the torch CNN on scikit-learn's digits and writes its weights and data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from shared import accuracy, factory, output_folder, write_arrays
from split import CALIBRATION, SEED, batches, digits
from torch.nn import functional

EPOCHS = 12


def train(model: torch.nn.Module, images: np.ndarray, labels: np.ndarray) -> None:
    """Fit with AdamW and a one-cycle rate, each batch shifted by up to a pixel."""
    generator = np.random.default_rng(SEED)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    steps = EPOCHS * len(batches(len(x), 32, generator))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=steps)
    model.train()
    for _ in range(EPOCHS):
        for rows in batches(len(x), 32, generator):
            shift = generator.integers(-1, 2, size=2).tolist()
            image = torch.roll(x[rows], shift, dims=(2, 3))
            loss = functional.cross_entropy(model(image), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def score(folder: Path) -> float:
    """Return the test accuracy of the weights and data in `folder`."""
    model = factory("digits_cnn")(channels=32)
    model.load_state_dict(load_file(folder / "models/digits_cnn.safetensors"))
    data = np.load(folder / "data/digits_test.npz")
    with torch.no_grad():
        return accuracy(model.eval()(torch.from_numpy(data["image"])).numpy(), data["labels"])


def main(out: Path) -> None:
    """Train, write weights and data, print the test score."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    images, labels, test_images, test_labels = digits("nchw")
    write_arrays(out / "data/digits_test.npz", image=test_images, labels=test_labels)
    write_arrays(out / "data/digits_calibration.npz", image=images[:CALIBRATION])
    model = factory("digits_cnn")(channels=32)
    train(model, images, labels)
    save_file(model.state_dict(), out / "models/digits_cnn.safetensors")
    print(f"digits-cnn: test accuracy {score(out):.4f}")


if __name__ == "__main__":
    main(output_folder(__doc__ or ""))
