"""Categorical choices of many agents at once, from random numbers that are handed in.

A policy that plays takes its numbers from a hash of row seed, episode and step, one that trains
from torch's generator: the same code makes both.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

TIE = 1e-3
"""Log-probabilities this close to the best count as tied: equal agents differ by rounding only."""


class Choice(NamedTuple):
    """Some categorical distributions over ``n`` choices, the forbidden ones at minus infinity."""

    log_p: Tensor
    """(..., n)."""

    def pick(self, uniform: Tensor, deterministic: bool) -> Tensor:
        """(...) int64: a sample, or the best, ties broken at random.

        Args:
            uniform: (...) in [0, 1).
            deterministic: the best.
        """
        p = self.log_p.exp()
        if deterministic:
            best = self.log_p.amax(-1, keepdim=True)
            p = (self.log_p >= best - TIE).to(p)
        heap = p.cumsum(-1)
        most = heap[..., -1:]
        chosen = (heap <= uniform.unsqueeze(-1) * most).sum(-1)
        # A number that was rounded up to 1 would choose the last, which may be forbidden.
        return torch.minimum(chosen, (heap < most).sum(-1))

    def log_prob(self, chosen: Tensor) -> Tensor:
        """(...) of choices (...) int64."""
        return self.log_p.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        """(...) in nats."""
        return -(self.log_p.exp() * self.log_p.clamp_min(-1e9)).sum(-1)


def choose_among(logits: Tensor, allowed: Tensor) -> Choice:
    """Softmax over the allowed choices.

    Args:
        logits: (..., n).
        allowed: (..., n) bool; at least one each.
    """
    masked = torch.where(allowed, logits, -torch.inf)
    return Choice(torch.log_softmax(masked, -1))
