"""A depthwise-separable network for 8 x 8 digits, as phones run them, with one feature on a scale of its own."""

import torch
from torch import Tensor, nn


class Separable(nn.Module):
    """A depthwise and a pointwise convolution, each normalised."""

    def __init__(self, wide_in: int, wide_out: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(wide_in, wide_in, 3, padding=1, groups=wide_in, bias=False)
        self.norm = nn.BatchNorm2d(wide_in)
        self.pointwise = nn.Conv2d(wide_in, wide_out, 1, bias=False)
        self.out_norm = nn.BatchNorm2d(wide_out)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.depthwise(x)))
        y: Tensor = torch.relu(self.out_norm(self.pointwise(x)))
        return y


class DigitsMobile(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.first = Separable(channels, 2 * channels)
        self.second = Separable(2 * channels, 2 * channels)
        self.pool = nn.MaxPool2d(2)
        self.third = Separable(2 * channels, 3 * channels)
        self.fourth = Separable(3 * channels, 3 * channels)
        self.head = nn.Linear(3 * channels + 1, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(image)))
        x = self.second(self.first(x))
        x = self.fourth(self.third(self.pool(x)))
        ink = 16 * image.sum(dim=(2, 3))  # in the sensor's counts: hundreds, where the other features are about 1
        logits: Tensor = self.head(torch.cat([x.mean(dim=(2, 3)), ink], dim=1))
        return logits


def build(channels: int = 16) -> torch.nn.Module:
    return DigitsMobile(channels)
