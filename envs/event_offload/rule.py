"""The dual-threshold rule: head below the lower threshold, tail above the upper, else go deeper.

At exit n, for an event still inside [notes]::

    C_n < beta_l  ->  declared head, stop
    C_n > beta_u  ->  declared tail, stop
    otherwise     ->  run block n + 1

Both inequalities are strict, and both sides are float32, so that tables and environments agree on
ties. After the last exit the ``final_rule`` decides.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sixgym.envs.event_offload.params import FinalRule


class Verdict(NamedTuple):
    """What the rule does with every event; all tensors have the events' shape (...)."""

    exit: Tensor
    """int64, 0-based exit at which the event left."""
    declared_tail: Tensor
    """bool: declared tail, by the upper threshold or by the final rule."""
    undecided: Tensor
    """bool: neither threshold was crossed at any exit."""


def run_rule(conf: Tensor, low: Tensor, high: Tensor, final_rule: FinalRule = "head") -> Verdict:
    """Send events through the exits.

    Args:
        conf: (..., N) tail confidences C_n in (0, 1).
        low: beta_l, broadcastable to (...); rounded to float32.
        high: beta_u >= beta_l, as ``low``.
        final_rule: for events that are undecided after exit N: "head"; "tail"; "mid": tail if
            C_N > (beta_l + beta_u) / 2; a number theta: tail if C_N > theta.
    """
    low, high = low.to(torch.float32), high.to(torch.float32)
    scores = conf.to(torch.float32).unbind(-1)
    last = len(scores) - 1
    below, above = scores[last] < low, scores[last] > high
    undecided = ~(below | above)
    tail = above | (undecided & final_tail(scores[last], low, high, final_rule))
    exit = torch.full_like(below, last, dtype=torch.int64)
    # From the last exit to the first: whoever leaves earlier overrules what was deeper.
    for n in range(last - 1, -1, -1):
        below, above = scores[n] < low, scores[n] > high
        inside = ~(below | above)
        exit = torch.where(inside, exit, n)
        tail = above | (inside & tail)
        undecided = inside & undecided
    return Verdict(exit, tail, undecided)


def final_tail(score: Tensor, low: Tensor, high: Tensor, final_rule: FinalRule) -> Tensor:
    """Whether the final rule declares an undecided event tail, by its last score; bool.

    Args:
        score: (...) float32 confidence of the last exit.
        low: beta_l, float32, broadcastable.
        high: beta_u, float32, broadcastable.
        final_rule: see `run_rule`.
    """
    if final_rule == "head":
        return torch.zeros_like(score, dtype=torch.bool)
    if final_rule == "tail":
        return torch.ones_like(score, dtype=torch.bool)
    if final_rule == "mid":
        return score > (low + high) / 2.0
    # Rounded first: some paths compare with a Python number in double precision.
    return score > float(np.float32(final_rule))
