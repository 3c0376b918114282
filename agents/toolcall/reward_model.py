"""The pairwise reward model (26): the cloud's answer is to score above a draft that differs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sixgym.agents.toolcall.config import RewardModelSettings
from sixgym.agents.toolcall.model import RewardNet, ToolNet
from sixgym.agents.toolcall.sft import Report, descend, torch_generator


def bradley_terry(better: Tensor, worse: Tensor) -> Tensor:
    """(26) ``-ln sigmoid(r_w - r_l)``, the mean over pairs (rows,).

    [standard: Bradley and Terry 1952]

    Args:
        better: rewards of the preferred answers.
        worse: of the others.
    """
    return -functional.logsigmoid(better - worse).mean()


def differing(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Rows of pairs (rows, 20) that are not the same answer: the others teach nothing."""
    return torch.nonzero((chosen != rejected).any(1))[:, 0]


def train_reward_model(
    settings: RewardModelSettings,
    start: ToolNet,
    prompt: Tensor,
    chosen: Tensor,
    rejected: Tensor,
    seed: int,
    report: Report | None = None,
) -> RewardNet:
    """Train a reward model from the edge agent's body.

    Args:
        settings: of the optimiser.
        start: whose body it begins with.
        prompt: (rows, 34) int64.
        chosen: (rows, 20) int64, cloud answers.
        rejected: (rows, 20) int64, edge drafts; pairs that are equal are dropped.
        seed: of the batches.
        report: told of every step.
    """
    net = RewardNet(start.sizes)
    net.body.load_state_dict(start.body.state_dict())
    rows, noise = differing(chosen, rejected), torch_generator(seed, "reward model")
    if not len(rows):
        return net  # no preference known: all answers are worth the same
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    for step in range(settings.steps):
        some = rows[torch.randint(len(rows), (settings.batch,), generator=noise)]
        pair = torch.cat([chosen[some], rejected[some]])
        better, worse = net(prompt[some].repeat(2, 1), pair).chunk(2)
        loss = bradley_terry(better, worse)
        descend(net, optimiser, loss, 1.0)
        if report is not None:
            report(step + 1, float(loss.detach()))
    return net
