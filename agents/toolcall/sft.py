"""The supervised start: next-token training on true answers, (25)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.agents.toolcall import objective
from sixgym.agents.toolcall.config import SftSettings
from sixgym.agents.toolcall.model import (
    DEFAULT_SIZES,
    Sizes,
    ToolNet,
    answer_tensor,
    prompt_tensor,
    said,
)
from sixgym.agents.toolcall.task import Item, generator, sft_examples

Report = Callable[[int, float], None]
"""Told the number of steps done and the last loss."""


class Examples(NamedTuple):
    """Requests with answers, as tensors."""

    prompt: Tensor
    """(rows, 34) int64, padded on the left."""
    answer: Tensor
    """(rows, 20) int64, padded on the right."""

    @classmethod
    def of(cls, items: Sequence[Item]) -> Examples:
        """Requests with their true answers."""
        return cls(
            prompt_tensor([i.prompt for i in items]), answer_tensor([i.answer for i in items])
        )

    def pick(self, count: int, noise: torch.Generator) -> Examples:
        """``count`` of them, drawn with replacement."""
        rows = torch.randint(len(self.prompt), (count,), generator=noise)
        return Examples(self.prompt[rows], self.answer[rows])


def torch_generator(seed: int, stream: str) -> torch.Generator:
    """A generator of torch for one purpose of one seed."""
    return torch.Generator().manual_seed(int(generator(seed, stream, 0).integers(2**62)))


def fresh_net(seed: int, sizes: Sizes = DEFAULT_SIZES) -> ToolNet:
    """An untrained edge agent; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, "weights", 0).integers(2**62)))
        return ToolNet(sizes)


def sft_data(settings: SftSettings, seed: int) -> Examples:
    """The supervised set; the anchor's prefixes are taken from it too."""
    return Examples.of(sft_examples(settings.examples, settings.mix, seed))


def train_sft(
    settings: SftSettings, seed: int, report: Report | None = None, sizes: Sizes = DEFAULT_SIZES
) -> ToolNet:
    """Train an edge agent on true answers by AdamW, with warm-up and a cosine.

    Args:
        settings: data and optimiser.
        seed: of the data, the weights and the batches.
        report: told of every step.
        sizes: of the network.
    """
    data, net = sft_data(settings, seed), fresh_net(seed, sizes)
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    noise, order = torch_generator(seed, "sft batches"), torch.empty(0, dtype=torch.int64)
    for step in range(settings.steps):
        while len(order) < settings.batch:  # without replacement within an epoch
            order = torch.cat([order, torch.randperm(settings.examples, generator=noise)])
        rows, order = order[: settings.batch], order[settings.batch :]
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * rate(settings, step)
        answer = data.answer[rows]
        loss = objective.nll(net(data.prompt[rows], answer), answer, said(answer).float())
        descend(net, optimiser, loss, settings.grad_clip)
        if report is not None:
            report(step + 1, float(loss.detach()))
    return net


def rate(settings: SftSettings, step: int) -> float:
    """Share of the learning rate at a step: up in a line, then down a cosine.

    [standard]
    """
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    past = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.final_rate + (1.0 - settings.final_rate) * 0.5 * (
        1.0 + math.cos(math.pi * past)
    )


def descend(
    net: torch.nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor, grad_clip: float
) -> float:
    """One gradient step; returns the gradient's norm before it was clipped."""
    optimiser.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(net.parameters(), grad_clip)
    optimiser.step()
    return float(norm)
