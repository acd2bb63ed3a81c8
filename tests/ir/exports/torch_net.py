"""Exports a small torch model to the file named first; run in a process of its own."""

import sys
import warnings

import torch
from torch import nn

warnings.filterwarnings("ignore")


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)

    def forward(self, x):
        return self.norm(x + self.attn(x, x, x, need_weights=False)[0])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.block = Block()
        self.fc = nn.Linear(8 * 16, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.bn(self.conv(x)).relu(), 2)
        return self.fc(self.block(x.flatten(2).transpose(1, 2)).flatten(1))


torch.manual_seed(0)
batch = torch.export.Dim("batch", min=1, max=16)
program = torch.onnx.export(
    Net().eval(),
    (torch.zeros(2, 1, 8, 8),),
    dynamo=True,
    opset_version=20,
    dynamic_shapes={"x": {0: batch}},
    verbose=False,
)
program.save(sys.argv[1])
