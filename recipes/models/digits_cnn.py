"""A small convolutional network for 8 x 8 digits."""

import torch
from torch import Tensor, nn


class DigitsCnn(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = block(1, channels)
        self.middle = block(channels, 2 * channels)
        self.pool = nn.MaxPool2d(2)
        self.deep = block(2 * channels, 2 * channels)
        self.head = nn.Linear(2 * channels, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.deep(self.pool(self.middle(self.stem(image))))
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


def block(wide_in: int, wide_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(wide_in, wide_out, 3, padding=1), nn.BatchNorm2d(wide_out), nn.ReLU())


def build(channels: int = 32) -> torch.nn.Module:
    return DigitsCnn(channels)
