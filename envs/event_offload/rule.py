"""The dual-threshold rule: head below the lower threshold, tail above the upper, else go deeper.

At exit n, for an event still inside [notes]::

    C_n < beta_l  ->  declared head, stop
    C_n > beta_u  ->  declared tail, stop
    otherwise     ->  run block n + 1

Both inequalities are strict, and both sides are float32, so that tables and environments agree on
ties. After the last exit the ``final_rule`` decides.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    return run_exits(conf.to(torch.float32).unbind(-1), low, high, final_rule)


def run_exits(
    scores: Sequence[Tensor], low: Tensor, high: Tensor, final_rule: FinalRule = "head"
) -> Verdict:
    """As `run_rule`, of the N scores (...) one by one, float32."""
    low, high = low.to(torch.float32), high.to(torch.float32)
    tail = scores[0] > high
    inside = ~(tail | (scores[0] < low))
    # Short integers are added up faster.
    exit = torch.zeros_like(inside, dtype=torch.int16)
    for score in scores[1:]:
        exit = exit + inside
        above = score > high
        tail = tail | (inside & above)
        inside = inside & ~(above | (score < low))
    tail = tail | (inside & final_tail(scores[-1], low, high, final_rule))
    return Verdict(exit.to(torch.int64), tail, inside)


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
