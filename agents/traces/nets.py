"""The two networks: a tiny multi-exit detector on the device, a larger classifier on the server."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ConvExits(nn.Module):
    """Multi-exit CNN for 8 x 8 images: 3x3 conv + ReLU blocks, each with its own binary head.

    The head is an average pool to 2 x 2 and a linear layer to (head, tail). No batch
    normalisation, so a trace does not depend on what else was in the batch.
    """

    CHANNELS = (2, 4, 6, 8)
    STRIDES = (1, 2, 1, 2)

    def __init__(self) -> None:
        super().__init__()
        self.blocks, self.heads = nn.ModuleList(), nn.ModuleList()
        width = 1
        for channels, stride in zip(self.CHANNELS, self.STRIDES, strict=True):
            # Built alternately: the order in which random initial weights are drawn.
            self.blocks.append(nn.Conv2d(width, channels, 3, stride=stride, padding=1))
            self.heads.append(nn.Linear(4 * channels, 2))
            width = channels
        self.pool = nn.AdaptiveAvgPool2d(2)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits (n, 2) of every exit for (n, 1, 8, 8) images."""
        logits, hidden = [], image
        for block, head in zip(self.blocks, self.heads, strict=True):
            hidden = torch.relu(block(hidden))
            logits.append(head(self.pool(hidden).flatten(1)))
        return logits

    def macs(self) -> list[float]:
        """Cumulative multiply-accumulates of the convolutions at each exit: 1152 ... 7488."""
        side, width, total, out = 8, 1, 0, []
        for channels, stride in zip(self.CHANNELS, self.STRIDES, strict=True):
            side = -(-side // stride)
            total += side * side * 9 * width * channels
            out.append(float(total))
            width = channels
        return out


class StagedExits(nn.Module):
    """Multi-exit MLP: exit n sees the columns of stages 1..n only, h_n = ReLU(W [h_{n-1}; x_n])."""

    WIDTHS = (4, 6, 8, 8)

    def __init__(self, stages: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.stages = [list(stage) for stage in stages]
        self.blocks, self.heads = nn.ModuleList(), nn.ModuleList()
        before = 0
        for stage, width in zip(self.stages, self.WIDTHS, strict=True):
            self.blocks.append(nn.Linear(before + len(stage), width))
            self.heads.append(nn.Linear(width, 2))
            before = width

    def forward(self, table: Tensor) -> list[Tensor]:
        """Logits (n, 2) of every exit for (n, features) standardised columns."""
        logits = []
        hidden = table.new_zeros(table.shape[0], 0)
        for stage, block, head in zip(self.stages, self.blocks, self.heads, strict=True):
            hidden = torch.relu(block(torch.cat((hidden, table[:, stage]), dim=1)))
            logits.append(head(hidden))
        return logits

    def macs(self) -> list[float]:
        """Cumulative multiply-accumulates of the blocks at each exit."""
        total, before, out = 0, 0, []
        for stage, width in zip(self.stages, self.WIDTHS, strict=True):
            total += (before + len(stage)) * width
            out.append(float(total))
            before = width
        return out


def conv_server(classes: int) -> nn.Module:
    """The server's classifier of 8 x 8 images into ``classes`` (head and K sub-classes)."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 16, 128),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Linear(128, classes),
    )


def table_server(features: int, classes: int) -> nn.Module:
    """The server's classifier of all columns into ``classes``."""
    return nn.Sequential(
        nn.Linear(features, 128),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(128, classes),
    )
