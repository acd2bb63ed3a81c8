"""Trains the torch transformer on the rows of scikit-learn's digits and writes its weights and data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from shared import accuracy, factory, output_folder
from split import SEED, batches, digits
from torch.nn import functional

EPOCHS = 60


def train(model: torch.nn.Module, rows: np.ndarray, labels: np.ndarray) -> None:
    """Fit with AdamW and a one-cycle rate, each batch shifted by up to a pixel."""
    generator = np.random.default_rng(SEED)
    x, y = torch.from_numpy(rows), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    steps = EPOCHS * len(batches(len(x), 32, generator))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    model.train()
    for _ in range(EPOCHS):
        for picked in batches(len(x), 32, generator):
            shift = generator.integers(-1, 2, size=2).tolist()
            loss = functional.cross_entropy(model(torch.roll(x[picked], shift, dims=(1, 2))), y[picked])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def score(folder: Path) -> float:
    """Return the test accuracy of the weights and data in `folder`."""
    model = factory("digits_transformer")()
    model.load_state_dict(load_file(folder / "models/digits_transformer.safetensors"))
    data = load_arrays(folder / "data/digits_rows_test.safetensors")
    with torch.no_grad():
        return accuracy(model.eval()(torch.from_numpy(data["rows"])).numpy(), data["labels"])


def main(out: Path) -> None:
    """Train, write weights and data, print the test score."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rows, labels, test_rows, test_labels = digits("rows")
    save_arrays({"rows": test_rows, "labels": test_labels}, out / "data/digits_rows_test.safetensors")
    model = factory("digits_transformer")()
    train(model, rows, labels)
    save_file(model.state_dict(), out / "models/digits_transformer.safetensors")
    print(f"digits-transformer: test accuracy {score(out):.4f}")


if __name__ == "__main__":
    main(output_folder(__doc__ or ""))
