"""Trains the depthwise-separable network on scikit-learn's digits and writes its weights; its data is digits_cnn's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from digits_cnn import train
from safetensors.torch import load_file, save_file
from shared import accuracy, factory, output_folder
from split import SEED, digits


def score(folder: Path) -> float:
    """Return the test accuracy of the weights in `folder`."""
    model = factory("digits_mobile")(channels=16)
    model.load_state_dict(load_file(folder / "models/digits_mobile.safetensors"))
    _, _, images, labels = digits("nchw")
    with torch.no_grad():
        return accuracy(model.eval()(torch.from_numpy(images)).numpy(), labels)


def main(out: Path) -> None:
    """Train, write the weights, print the test score."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    images, labels, _, _ = digits("nchw")
    model = factory("digits_mobile")(channels=16)
    train(model, np.asarray(images), labels)
    save_file(model.state_dict(), out / "models/digits_mobile.safetensors")
    print(f"digits-mobile: test accuracy {score(out):.4f}")


if __name__ == "__main__":
    main(output_folder(__doc__ or ""))
